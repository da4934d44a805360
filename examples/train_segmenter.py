"""Trains a small segmentation network with one loss or several.

Every loss starts from the same weights and sees the same batches. Printed at
the end: intersection over union (IoU) per class, their mean, and the time of
a step. Written: one picture with predictions and training curves.

Without --data the network learns to find handwritten digits in cluttered
scenes, made from scans that come with scikit-learn. The backend of Keras is
the one that KERAS_BACKEND names. More losses: compare_losses.py.
"""

import sys

import command

LOSSES = ("ce", "bce", "rmi")


def main(arguments=None):
    parser = command.parser(
        __doc__,
        LOSSES,
        "segmentation.png",
        choices=LOSSES,
        default=["bce", "rmi"],
    )
    return command.run("train_segmenter.py", command.parse(parser, arguments))


if __name__ == "__main__":
    sys.exit(main())
