"""Compares the numbers that RMILoss prints with those of other code.

Both get the same logits and labels, 5 % of them void where the code knows
void. Printed is a Markdown table: what each gives for one image, what ours
must be by the page on migrating (docs/migrating.md), and the difference.
Needs torch and KERAS_BACKEND=torch, and checkouts of the other code.
"""

import argparse
import math
import sys
from pathlib import Path

import peers
from tables import table

FACTOR, RADIUS, CLASSES, SIZE = 4, 3, 5, 65
WEIGHT, EPSILON = 0.5, 5e-4


def main(arguments=None):
    options = _parser().parse_args(arguments)
    for name in ("published", "relbers"):
        try:
            peers.check(name, getattr(options, name))
        except peers.PeerError as error:
            print(f"values.py: error: {error}", file=sys.stderr)
            return 2
    rows = [_published(options.published), _relbers(options.relbers)]
    names = ["code", "its value", "as ours", "`RMILoss`", "difference"]
    print(table(names, rows))
    return 0


def _maps(void):
    """Labels (1,H,W), logits (1,H,W,C) that follow them, both arrays."""
    import numpy as np

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, CLASSES, (1, SIZE // 8 + 1, SIZE // 8 + 1))
    labels = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :SIZE, :SIZE]
    logits = rng.standard_normal((1, SIZE, SIZE, CLASSES))
    logits += 3 * np.eye(CLASSES)[labels] - 1
    if void:
        labels[rng.random(labels.shape) < 0.05] = 255
    return labels, logits.astype("float32")


def _row(name, theirs, loss, labels, logits):
    """Their value, with the constant that ours has not, and ours."""
    shifted = theirs - WEIGHT * CLASSES * 0.5 * math.log(EPSILON)
    ours = float(loss(labels, logits))
    numbers = (theirs, shifted, ours, ours - shifted)
    return [name, *(f"{number:.5f}" for number in numbers)]


def _tensors(labels, logits):
    """As the others want them: channels first."""
    from keras import ops

    x = ops.transpose(ops.convert_to_tensor(logits), (0, 3, 1, 2))
    return ops.convert_to_tensor(labels, "int64"), x


def _published(folder):
    import keras_rmi

    maps = _maps(void=True)
    theirs = peers.published(folder, "cpu", CLASSES, FACTOR, RADIUS)
    ours = keras_rmi.RMILoss(
        pool_size=FACTOR, from_logits=True, ignore_class=255
    )
    return _row("ZJULearning/RMI", float(theirs(*_tensors(*maps))), ours, *maps)


def _relbers(folder):
    import keras_rmi

    maps = _maps(void=False)
    theirs = peers.relbers(folder, "cpu", CLASSES, FACTOR, RADIUS)
    common = {"from_logits": True}
    pixel = keras_rmi.SigmoidCrossentropy(class_reduction="mean", **common)
    region = keras_rmi.RMILoss(pool_size=FACTOR, rmi_weight=1.0, **common)
    ours = keras_rmi.CompositeLoss(
        {"bce": (pixel, 1 - WEIGHT), "rmi": (region, WEIGHT)}
    )
    return _row("RElbers", float(theirs(*_tensors(*maps))), ours, *maps)


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, repository in (
        ("published", "ZJULearning/RMI"),
        ("relbers", "RElbers/region-mutual-information-pytorch"),
    ):
        parser.add_argument(
            f"--{name}",
            type=Path,
            required=True,
            metavar="DIR",
            help=f"a checkout of {repository}",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
