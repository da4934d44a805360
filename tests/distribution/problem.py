"""What one device and many devices compute: images, losses, a network."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

import keras_rmi

VOID = 255
CLASSES = 3
SIZE = (8, 20, 22)
# An epoch of `fit` has two steps.
BATCH = 4


def images():
    rng = np.random.default_rng(0)
    return rng.normal(0.0, 1.0, (*SIZE, 3)).astype("float32")


def labels():
    """Blocks of classes; void is nearly all of the first images."""
    count, height, width = SIZE
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, CLASSES, (count, height, width))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    fine[:, 3:5, 2:9] = VOID
    fine[0] = VOID
    fine[1:4, 2:] = VOID
    return fine.astype("int32")


def weights(kind):
    """Weights that differ much from image to image, some of them zero."""
    rng = np.random.default_rng(2)
    of_images = np.array([0.0, 0.5, 0.0, 0.1, 6.0, 2.0, 1.0, 0.0], "float32")
    if kind == "pixels":
        of_pixels = rng.random(SIZE, "float32") * (1 + of_images)[:, None, None]
        of_pixels[5, 8:] = of_pixels[6] = 0.0
        return of_pixels
    return of_images if kind == "images" else None


def rmi(**options):
    return keras_rmi.RMILoss(
        radius=2, pool_size=2, from_logits=True, ignore_class=VOID, **options
    )


def softmax(**options):
    return keras_rmi.SoftmaxCrossentropy(
        from_logits=True, ignore_class=VOID, **options
    )


def composite(**options):
    dice = keras_rmi.DiceLoss(from_logits=True, ignore_class=VOID)
    return keras_rmi.CompositeLoss(
        {"rmi": (rmi(activation="softmax"), 1.0), "dice": (dice, 0.5)},
        **options,
    )


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss, its weights and the images of a step.

    Only where `even` do all devices have as many images, and is the loss a
    mean over images, so that the means of the devices may be averaged.
    """

    name: str
    loss: Callable
    weights: str = "none"
    count: int = SIZE[0]
    reduction: str = "sum_over_batch_size"

    @property
    def even(self):
        whole = self.count == SIZE[0]
        return whole and self.reduction == "sum_over_batch_size"

    def build(self, reduction=None):
        return self.loss(reduction=reduction or self.reduction)

    def batch(self):
        """Images, labels and weights, or no weights."""
        arrays = images(), labels(), weights(self.weights)
        # The last ones: the first would be void.
        return [None if x is None else x[-self.count :] for x in arrays]

    def share(self):
        """What the sum of the values is divided by, over all devices."""
        if self.reduction == "mean_with_sample_weight":
            return float(np.sum(weights(self.weights)[-self.count :]))
        return float(self.count)


CASES = (
    Case("rmi, pixels weighted", rmi, "pixels"),
    Case("rmi and dice, images weighted", composite, "images"),
    Case("rmi and dice, unequal", composite, "images", count=5),
    Case("softmax, images weighted", softmax, "images"),
    Case("softmax, unequal, pixels weighted", softmax, "pixels", count=5),
    Case(
        "softmax, weighted mean",
        softmax,
        "images",
        reduction="mean_with_sample_weight",
    ),
)
# All devices but one have no image.
ALONE = Case("rmi and dice, pixels weighted, alone", composite, "pixels", 1)
# Of these the means of the parts are averaged too, which is wrong.
NAIVE = tuple(c for c in CASES if c.loss is softmax and not c.even)


def network():
    """A network with the same weights each time."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((*SIZE[1:], 3)),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(CLASSES, 3, padding="same"),
        ]
    )
    return model, keras.optimizers.SGD(0.1, momentum=0.9)


def metrics():
    return [
        keras_rmi.metrics.RegionMutualInformation(
            CLASSES,
            radius=2,
            pool_size=2,
            from_logits=True,
            ignore_class=VOID,
        ),
        keras.metrics.MeanIoU(
            CLASSES, ignore_class=VOID, sparse_y_pred=False, name="iou"
        ),
    ]


class Results:
    """Arrays by case and quantity, kept as one file."""

    def __init__(self):
        self._arrays = {}

    def add(self, case, **quantities):
        """Quantities are arrays, or lists of arrays."""
        for name, x in quantities.items():
            several = isinstance(x, (list, tuple))
            for index, array in enumerate(x if several else [x]):
                self._arrays[f"{case}/{name}/{index}"] = np.asarray(array)

    def save(self, path):
        np.savez(path, **self._arrays)


def fit(model, optimizer, loss, parts=(), count=SIZE[0]):
    """An epoch in the order of the images, and what it reports."""
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=metrics(),
        weighted_metrics=list(parts),
    )
    arrays = images(), labels(), weights("images")
    x, y, weight = (a[-count:] for a in arrays)
    return model.fit(
        x,
        y,
        sample_weight=weight,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
    ).history
