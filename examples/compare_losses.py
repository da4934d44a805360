"""Trains the same small network with any losses of the collection.

A loss is a name, or a sum of names: "rmi+dice", or with weights
"rmi+0.5*dice". Every one starts from the same weights and sees the same
batches. Printed at the end: intersection over union (IoU) per class, their
mean, and the time of a step, one column a loss. Written: one picture with
predictions and training curves. While a sum is trained, the progress bar
shows its parts.

Data and backend are those of train_segmenter.py.
"""

import sys

import choices
import command


def main(arguments=None):
    parser = command.parser(
        __doc__,
        choices.LOSSES,
        "losses.png",
        type=command.loss_name,
        default=["ce", "rmi", "rmi+dice"],
        metavar="LOSS",
    )
    parser.add_argument(
        "--ramp",
        type=command.positive,
        metavar="N",
        help="in a sum, let the weights after the first grow from 0 during "
        "the first N epochs",
    )
    options = command.parse(parser, arguments)
    if options.ramp and not any("+" in name for name in options.loss):
        parser.error("--ramp needs a sum among the losses")
    return command.run("compare_losses.py", options, options.ramp)


if __name__ == "__main__":
    sys.exit(main())
