"""The losses that the contract runs over: a new loss joins with one row."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

import keras_rmi

VOID = 255
SIZE = (3, 13, 11)


def class_ids(size, num_classes):
    """Blocks of classes (N, H, W) with a void band; the last image is void."""
    count, height, width = size
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, num_classes, (count, height, width))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    fine[:, 2:4, 1:7] = VOID
    fine[-1] = VOID
    return fine.astype("int32")


def mask(size, num_classes):
    """A {0, 1} mask with a void band."""
    return class_ids(size, 2)


def one_hot(size, num_classes):
    """The class ids as (N, H, W, C), zero rows where void."""
    ids = class_ids(size, num_classes)[..., None]
    return (ids == np.arange(num_classes)).astype("float32")


def logits(size, num_classes):
    """Numbers that bfloat16 and float16 hold exactly."""
    rng = np.random.default_rng(2)
    values = 2 * rng.standard_normal((*size, num_classes))
    return (np.round(values * 8) / 8).astype("float32")


def probabilities(size, num_classes):
    """Likewise, and not 0 or 1."""
    rng = np.random.default_rng(2)
    values = rng.integers(1, 256, (*size, num_classes))
    return (values / 256).astype("float32")


# (argument, axes of `y_true`, axes of `y_pred`, axes of `sample_weight`).
# A letter is the size of that axis; "+" after it makes it one too many.
WRONG_SHAPES = (
    ("y_pred", "NHW", "NHW", None),
    ("y_pred", "NHW", "NHWC1", None),
    ("y_pred", "N0W", "N0WC", None),
    ("y_pred", "NH0", "NH0C", None),
    ("y_true", "NH", "NHWC", None),
    ("y_true", "NHW11", "NHWC", None),
    ("y_true", "N+HW", "NHWC", None),
    ("y_true", "NH+W", "NHWC", None),
    ("y_true", "NHW+", "NHWC", None),
    ("y_true", "NWH", "NHWC", None),
    ("y_true", "1HW", "NHWC", None),
    ("y_true", "NHWC+", "NHWC", None),
    ("y_true", "NH+WC", "NHWC", None),
    ("sample_weight", "NHW", "NHWC", "N+"),
    ("sample_weight", "NHW", "NHWC", "1"),
    ("sample_weight", "NHW", "NHWC", "H"),
    ("sample_weight", "NHW", "NHWC", "11"),
    ("sample_weight", "NHW", "NHWC", "NH"),
    ("sample_weight", "NHW", "NHWC", "HW"),
    ("sample_weight", "NHW", "NHWC", "NHW+"),
    ("sample_weight", "NHW", "NHWC", "NWH"),
    ("sample_weight", "NHW", "NHWC", "1HW"),
    ("sample_weight", "NHW", "NHWC", "NH1"),
    ("sample_weight", "NHW", "NHWC", "NHW1+"),
    ("sample_weight", "NHW", "NHWC", "NHWC+"),
    ("sample_weight", "NHW", "NHWC", "NHW11"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A loss with its options, and what it is called with.

    `labels` and `predictions` take a size (N, H, W) and the number of classes
    and give maps with the channels last. Tests that are slow and do not
    depend on the options run for the `main` case of a loss only.
    """

    name: str
    options: dict
    loss: Callable = keras_rmi.RMILoss
    labels: Callable = class_ids
    predictions: Callable = logits
    num_classes: int = 4
    main: bool = False
    wrong_shapes: tuple = WRONG_SHAPES

    def __str__(self):
        return self.name

    @property
    def axis(self):
        return self.options.get("axis", -1)

    @property
    def dense(self):
        return self.labels is one_hot

    def build(self, **changes):
        return self.loss(**{"reduction": None, **self.options, **changes})

    @functools.cached_property
    def program(self):
        """The loss of predictions, given labels, which are no constants.

        One function for all tests, so that it is compiled once for a size.
        """
        loss = self.build()
        return lambda x, y_true, *weight: loss(y_true, x, *weight)

    def inputs(self, size=SIZE, axis=None):
        """`y_true` and `y_pred` for the axis of the case, or another."""
        y_true = self.labels(size, self.num_classes)
        y_pred = self.predictions(size, self.num_classes)
        axis = self.axis if axis is None else axis
        return self.move(y_true, axis), self.move(y_pred, axis)

    def move(self, x, axis):
        """A map with the channels last, for `axis`."""
        if axis != 1 or x.ndim != 4:
            return x
        return np.ascontiguousarray(np.moveaxis(x, -1, 1))

    def void(self, y_true, where):
        """Labels that are void too where the mask (N, H, W) says so."""
        if self.dense:
            where = np.expand_dims(where, self.axis)
        return np.where(where, 0 if self.dense else VOID, y_true)


def small(**options):
    """Options of the RMI loss that compile fast."""
    return {
        "from_logits": True,
        "ignore_class": VOID,
        "radius": (1, 2),
        "pool_size": 2,
        **options,
    }


def plain(**options):
    """Options that all losses have."""
    return {"from_logits": True, "ignore_class": VOID, **options}


def composite(axis=-1, **options):
    """A composite in a composite, whose parts share the axis."""
    common = plain(axis=axis)
    rmi = keras_rmi.RMILoss(**small(rmi_weight=1.0, axis=axis))
    pixel = keras_rmi.SigmoidCrossentropy(**common)
    inner = keras_rmi.CompositeLoss({"rmi": (rmi, 0.5), "bce": pixel})
    return keras_rmi.CompositeLoss({"structure": (inner, 2.0)}, **options)


CASES = (
    Case("rmi", small(radius=2), main=True),
    Case("rmi softmax, no pooling", small(activation="softmax", pooling=None)),
    Case(
        "rmi one-hot",
        small(class_weights=[1.0, 0.25, 2.0, 0.5]),
        labels=one_hot,
    ),
    Case(
        "rmi one channel",
        small(pool_size=(2, 3)),
        labels=mask,
        num_classes=1,
    ),
    Case(
        "rmi interpolate, channels first",
        small(pooling="interpolate", axis=1),
    ),
    Case(
        "rmi probabilities",
        small(from_logits=False),
        predictions=probabilities,
    ),
    Case(
        "rmi softmax probabilities",
        small(from_logits=False, activation="softmax", rmi_weight=0.25),
        predictions=probabilities,
    ),
    Case("rmi pixel term alone", small(rmi_weight=0.0)),
    Case(
        "rmi region term alone, max",
        small(rmi_weight=1.0, pooling="max", ignore_class=(7, VOID)),
    ),
    Case(
        "sigmoid crossentropy",
        plain(),
        loss=keras_rmi.SigmoidCrossentropy,
        main=True,
    ),
    Case(
        "sigmoid crossentropy one channel",
        plain(label_smoothing=0.1, class_reduction="mean"),
        loss=keras_rmi.SigmoidCrossentropy,
        labels=mask,
        num_classes=1,
    ),
    Case(
        "softmax crossentropy",
        plain(label_smoothing=0.1),
        loss=keras_rmi.SoftmaxCrossentropy,
        main=True,
    ),
    Case(
        "softmax crossentropy one-hot, channels first",
        plain(label_smoothing=0.1, class_weights=[1.0, 0.25, 2.0, 0.5], axis=1),
        loss=keras_rmi.SoftmaxCrossentropy,
        labels=one_hot,
    ),
    Case(
        "tversky",
        plain(alpha=0.25, beta=0.75),
        loss=keras_rmi.TverskyLoss,
        main=True,
    ),
    Case(
        "tversky all classes, channels first",
        plain(classes="all", smooth=1, activation="sigmoid", axis=1),
        loss=keras_rmi.TverskyLoss,
    ),
    Case("dice", plain(), loss=keras_rmi.DiceLoss, main=True),
    Case(
        "dice one channel",
        plain(classes="all", smooth=1, activation="sigmoid"),
        loss=keras_rmi.DiceLoss,
        labels=mask,
        num_classes=1,
    ),
    Case("jaccard", plain(), loss=keras_rmi.JaccardLoss, main=True),
    Case(
        "jaccard one-hot probabilities",
        plain(from_logits=False, class_weights=[1.0, 0.25, 2.0, 0.5]),
        loss=keras_rmi.JaccardLoss,
        labels=one_hot,
        predictions=probabilities,
    ),
    Case("focal", plain(), loss=keras_rmi.FocalLoss, main=True),
    Case(
        "focal one-hot, sigmoid probabilities",
        plain(
            gamma=0.5,
            alpha=0.25,
            activation="sigmoid",
            from_logits=False,
            class_weights=[1.0, 0.25, 2.0, 0.5],
        ),
        loss=keras_rmi.FocalLoss,
        labels=one_hot,
        predictions=probabilities,
    ),
    Case(
        "focal one channel",
        plain(alpha=0.25, activation="sigmoid"),
        loss=keras_rmi.FocalLoss,
        labels=mask,
        num_classes=1,
    ),
    Case(
        "lovasz softmax", plain(), loss=keras_rmi.LovaszSoftmaxLoss, main=True
    ),
    Case(
        "lovasz softmax one-hot, channels first",
        plain(classes="all", class_weights=[1.0, 0.25, 2.0, 0.5], axis=1),
        loss=keras_rmi.LovaszSoftmaxLoss,
        labels=one_hot,
    ),
    Case(
        "lovasz hinge",
        plain(),
        loss=keras_rmi.LovaszHingeLoss,
        labels=mask,
        num_classes=1,
        main=True,
    ),
    Case(
        "affinity",
        plain(sizes=2, edge_weight=0.5),
        loss=keras_rmi.AffinityFieldLoss,
        main=True,
    ),
    Case(
        "affinity one-hot, channels first",
        plain(class_weights=[1.0, 0.25, 2.0, 0.5], axis=1, sizes=[3]),
        loss=keras_rmi.AffinityFieldLoss,
        labels=one_hot,
    ),
    Case(
        "affinity one channel",
        plain(activation="sigmoid", affinity_weight=2.0),
        loss=keras_rmi.AffinityFieldLoss,
        labels=mask,
        num_classes=1,
    ),
    Case(
        "pyramid",
        plain(scales=(0.3, 1.0)),
        loss=keras_rmi.PyramidLoss,
        main=True,
    ),
    Case(
        "pyramid one-hot, channels first",
        plain(class_weights=[1.0, 0.25, 2.0, 0.5], axis=1),
        loss=keras_rmi.PyramidLoss,
        labels=one_hot,
    ),
    Case("composite", {"name": "whole"}, loss=composite, main=True),
)
MAIN_CASES = tuple(case for case in CASES if case.main)
# One case for each form of labels of a loss.
FORM_CASES = tuple({(c.loss, c.labels): c for c in reversed(CASES)}.values())
