"""Problems drawn from the table of cases: options, shapes, forms, dtypes.

A problem is what a compiled program fixes; its contents are drawn again and
again. Every row of `cases.CASES` is drawn from, with other numbers of classes,
regions, down-samplings and sizes than its own.
"""

import dataclasses

import numpy as np
from keras import ops

import keras_rmi
from stress import contents

WEIGHT_FORMS = ("image", "column", "pixel", "pixel with axis")
# tests/losses/test_pyramid.py says what happens beyond it.
LARGEST_RESIZED = 1e7
# Rows whose parts need more than one pixel.
SMALLEST = {"composite": (1, 2)}


@dataclasses.dataclass(frozen=True, eq=False)
class Content:
    """Arrays for one evaluation, and what is known about them.

    `y_true` and `x` have their channels last; `void` (N,H,W) is where the
    labels are, `kind` says of which kind the predictions are.
    """

    kind: str
    y_true: np.ndarray
    x: np.ndarray
    void: np.ndarray
    weights: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A row of the table with everything but the contents."""

    case: object
    options: dict
    size: tuple
    num_classes: int
    label_form: str
    label_dtype: str
    weight_form: str | None
    dtype: str

    def __str__(self):
        parts = [f"{self.case}: {(*self.size, self.num_classes)} {self.dtype}"]
        parts.append(f"{self.label_dtype} {self.label_form}")
        parts.append(f"weights {self.weight_form}")
        return ", ".join([*parts, str(self.options)])

    def loss(self, **changes):
        return self.case.loss(**{"reduction": None, **self.options, **changes})

    @property
    def axis(self):
        return self.options.get("axis", -1)

    @property
    def has_regions(self):
        """Whether a log-determinant is part of the value."""
        losses = (keras_rmi.RMILoss, keras_rmi.CompositeLoss)
        return isinstance(self.loss(), losses)

    def call(self, x, y_true, weights=None):
        """Values (N,) of predictions with the channels where they belong."""
        x = ops.cast(x, self.dtype)
        return self.loss()(y_true, x, weights)

    def arguments(self, content):
        """Predictions, and the constants of `call`, of a content."""
        constants = [self.case.move(content.y_true, self.axis)]
        if self.weight_form is not None:
            constants.append(content.weights)
        return self.case.move(content.x, self.axis), constants

    def draw(self, random):
        """A content; what is all void or weightless is drawn too."""
        ids = contents.draw_ids(random, self.size, max(2, self.num_classes))
        void = contents.draw_void(random, self.size)
        targets = self._targets(random, ids)
        kind, x = self._predictions(random, targets)
        y_true = self._labels(ids, targets, void)
        weights = None
        if self.weight_form is not None:
            pixels = self.weight_form.startswith("pixel")
            shape = self.size if pixels else self.size[:1]
            weights = contents.draw_weights(random, shape)
            if pixels:
                void = void | (weights == 0)
            if self.weight_form in ("column", "pixel with axis"):
                weights = weights[..., None]
        return Content(kind, y_true, x, void, weights)

    def _targets(self, random, ids):
        if self.num_classes == 1:
            return ids[..., None].astype("float64")
        if self.label_form == "dense":
            return contents.draw_dense(random, ids, self.num_classes)
        return np.eye(self.num_classes)[ids]

    def _predictions(self, random, targets):
        if self.options.get("from_logits", True):
            largest = contents.LARGEST[self.dtype]
            if self.case.loss is keras_rmi.PyramidLoss:
                largest = min(largest, LARGEST_RESIZED)
            return contents.draw_logits(random, targets, self.dtype, largest)
        activation = getattr(self.loss(), "activation", "softmax")
        return contents.draw_probabilities(
            random, targets, self.dtype, activation == "softmax"
        )

    def _labels(self, ids, targets, void):
        if self.label_form == "dense":
            labels = np.where(void[..., None], 0.0, targets)
        else:
            labels = np.where(void, contents.VOID, ids)
            if self.label_form == "ids with axis":
                labels = labels[..., None]
        return labels.astype(self.label_dtype)


def draw_problem(random, case):
    """Options and shapes for a row of the table."""
    several = (2, 2, 3, 4, 7, 21, 40)
    num_classes = 1 if case.num_classes == 1 else random.choice(several)
    options = dict(case.options)
    if "from_logits" in options:
        options["from_logits"] = random.choice((True, True, False))
    if "class_weights" in options:
        options["class_weights"] = [
            random.choice((0.0, 0.25, 1.0, 3.0)) for _ in range(num_classes)
        ]
    height, width = (
        least + random.choice((0, 0, 1, 2, 5, 11))
        for least in _smallest_map(random, case, options)
    )
    most = max(1, contents.VOLUME // (height * width * num_classes))
    if case.dense:
        form, dtypes = "dense", ("float32", "float16", "float64")
    else:
        form = random.choice(("ids", "ids with axis"))
        dtypes = ("uint8", "int16", "uint16", "int32", "int64", "float32")
    return Problem(
        case,
        options,
        (min(most, random.choice((1, 1, 2, 3, 9))), height, width),
        num_classes,
        form,
        random.choice(dtypes),
        random.choice((None, None, *WEIGHT_FORMS)),
        random.choice(("float32", "float32", "float16", "bfloat16")),
    )


def _smallest_map(random, case, options):
    """The smallest (H,W) that the loss accepts; draws a region for RMI."""
    if case.loss is keras_rmi.RMILoss:
        return _draw_region(random, options)
    if case.loss is keras_rmi.AffinityFieldLoss:
        return (int(np.max(options.get("sizes", 1))) + 1,) * 2
    return SMALLEST.get(case.name, (1, 1))


def _draw_region(random, options):
    """Adds region and down-sampling to the options."""
    largest = random.choice((3, 3, 5, 7))
    options["radius"] = _draw_pair(random, largest)
    options["pool_size"] = _draw_pair(random, random.choice((1, 3, 4, 8)))
    options["pooling"] = random.choice(
        ("avg", "avg", "max", "interpolate", None)
    )
    options["epsilon"] = random.choice((5e-4, 5e-4, 5e-4, 1e-3, 0.1))
    factors = np.broadcast_to(options["pool_size"], 2)
    return tuple(
        _smallest_length(int(side), int(factor), options["pooling"])
        for side, factor in zip(np.broadcast_to(options["radius"], 2), factors)
    )


def _draw_pair(random, largest):
    """A number up to `largest`, or two."""
    one, other = random.randint(1, largest), random.randint(1, largest)
    return random.choice((one, one, (one, other)))


def _smallest_length(side, factor, pooling):
    """Pixels along an axis of which `side` are left."""
    if pooling is None:
        return side
    if pooling == "interpolate":
        return side * factor
    # Half a window of padding on both sides.
    return max(1, side * factor - 2 * (factor // 2))
