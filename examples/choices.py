"""The losses that the scripts offer, by name, and sums of them.

A sum is "rmi+dice", or with weights "rmi+0.5*dice". Nothing here imports
Keras before a loss is made: --help and a wrong name are answered at once.
"""

import math
from collections import namedtuple

Choice = namedtuple("Choice", "text class_name options")

# A new loss joins with one row.
LOSSES = {
    "ce": Choice("softmax cross entropy", "SoftmaxCrossentropy", {}),
    "bce": Choice(
        "sigmoid cross entropy, summed over the classes",
        "SigmoidCrossentropy",
        {},
    ),
    "rmi": Choice("half bce, half region mutual information", "RMILoss", {}),
    "affinity": Choice(
        "ce and affinity of neighbouring pixels", "AffinityFieldLoss", {}
    ),
    "pyramid": Choice("ce at several scales", "PyramidLoss", {}),
    "dice": Choice("one minus the Dice coefficient", "DiceLoss", {}),
    "jaccard": Choice("one minus intersection over union", "JaccardLoss", {}),
    "tversky": Choice(
        "overlap, where a miss costs more than a false alarm",
        "TverskyLoss",
        {"alpha": 0.3, "beta": 0.7},
    ),
    "focal": Choice("ce of pixels that are not easy", "FocalLoss", {}),
    "lovasz": Choice(
        "convex extension of intersection over union",
        "LovaszSoftmaxLoss",
        {},
    ),
}
VOID = 255


def split(name):
    """The weights of the losses that a name adds up, by their names."""
    parts = {}
    for term in name.split("+"):
        weight, separator, base = term.rpartition("*")
        if base not in LOSSES or base in parts:
            problem = "twice" if base in parts else "no such loss"
            raise ValueError(f"{problem}: {base!r} in {name!r}")
        parts[base] = _weight(weight, name) if separator else 1.0
    return parts


def _weight(text, name):
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"not a positive number: {text!r} in {name!r}")
    return weight


def describe(name):
    """What a loss is, or a sum of them."""
    if name in LOSSES:
        return LOSSES[name].text
    return ", ".join(
        f"{weight:g} times {base} ({LOSSES[base].text})"
        for base, weight in split(name).items()
    )


def make(name, **options):
    """The loss of that name, for logits and class ids with void.

    `options` go to the loss, and a sum takes none.
    """
    import keras_rmi

    parts = {
        base: (
            getattr(keras_rmi, LOSSES[base].class_name)(
                from_logits=True,
                ignore_class=VOID,
                name=base,
                **{**LOSSES[base].options, **options},
            ),
            weight,
        )
        for base, weight in split(name).items()
    }
    if name in LOSSES:
        return parts[name][0]
    return keras_rmi.CompositeLoss(parts, name="sum")


def ramps(loss, name, epochs):
    """Callbacks: all parts of a sum but the first grow to their weight.

    In epoch t the weight is min(1, t / epochs) of what it will be.
    """
    from keras_rmi.callbacks import LossWeightSchedule

    return [
        LossWeightSchedule(
            loss,
            f"{base}_weight",
            lambda epoch, weight=weight: weight * min(1.0, epoch / epochs),
        )
        for base, weight in list(split(name).items())[1:]
    ]
