"""Layers, the bound and the metric, drawn as problems of their own.

Each has the methods of `problems.Problem` that `checks.examine_map` uses.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from keras import ops

import keras_rmi
from reference import dense_crf, downsampling, metric, regions
from stress import contents

# Public names that others stand for: the weights belong to a loss, and the
# function on NumPy arrays is the layer.
ELSEWHERE = {"AffinityFieldWeights", "dense_crf"}


@dataclasses.dataclass(frozen=True, eq=False)
class MapProblem:
    """A function of a map (N,H,W,C) and of what else it is given."""

    name: str
    options: dict
    size: tuple
    num_classes: int
    function: Callable
    reference: Callable
    labels: str = "none"
    statistics: bool = False

    def __str__(self):
        return f"{self.name}: {(*self.size, self.num_classes)}, {self.options}"

    def draw(self, random):
        """Kind, map, and further arguments."""
        ids = contents.draw_ids(random, self.size, self.num_classes)
        targets = np.eye(self.num_classes)[ids]
        if self.statistics or self.labels == "image":
            kind, x = contents.draw_probabilities(
                random, targets, "float32", exclusive=self.labels == "image"
            )
        else:
            largest = contents.LARGEST["float32"]
            kind, x = contents.draw_logits(random, targets, "float32", largest)
        if self.labels == "none":
            return kind, x, ()
        if self.labels == "image":
            return kind, x, (contents.draw_image(random, self.size),)
        if self.labels == "dense":
            labels = contents.draw_dense(random, ids, self.num_classes)
            return kind, x, (labels.astype("float32"),)
        void = contents.draw_void(random, self.size)
        labels = np.where(void, contents.VOID, ids)
        return kind, x, (labels.astype("int32"),)


def _average(random, num_classes):
    factor = random.randint(1, 8)
    layer = keras_rmi.layers.AverageDownsampling2D(factor, "channels_last")
    return {"pool_size": factor}, layer, _small("avg", factor)


def _maximum(random, num_classes):
    factor = random.randint(1, 8)
    layer = keras_rmi.layers.MaxDownsampling2D(factor, "channels_last")
    return {"pool_size": factor}, layer, _small("max", factor)


def _interpolation(random, num_classes):
    factor = random.randint(1, 8)
    kind = random.choice(("bilinear", "nearest"))
    layer = keras_rmi.layers.InterpolationDownsampling2D(
        factor, kind, "channels_last"
    )
    options = {"pool_size": factor, "interpolation": kind}
    return options, layer, _small("interpolate", factor, kind)


def _small(pooling, factor, interpolation="bilinear"):
    return lambda x: downsampling.downsample(x, pooling, factor, interpolation)[
        0
    ]


def _vectors(random, num_classes):
    radius = random.randint(1, 7)
    layer = keras_rmi.layers.RegionVectors2D(radius)
    return (
        {"radius": radius},
        layer,
        lambda x: regions.region_vectors(x.astype("float64"), radius),
    )


def _bound(random, num_classes):
    options = {
        "radius": random.randint(1, 7),
        "epsilon": random.choice((5e-4, 0.1)),
    }

    def function(x, labels):
        return keras_rmi.ops.region_mutual_information(labels, x, **options)

    def reference(x, labels):
        values, *_ = regions.posterior_log_determinant(labels, x, **options)
        return -float(options["radius"] ** 2) * values

    return options, function, reference


def _metric(random, num_classes):
    options = {
        "radius": random.randint(1, 5),
        "pool_size": random.randint(1, 4),
        "pooling": random.choice(("avg", "max", "interpolate")),
        "ignore_class": contents.VOID,
    }
    of_classes = keras_rmi.metrics.RegionMutualInformation(
        num_classes, **options
    )

    def function(x, labels):
        start = [ops.zeros((num_classes,))] * 2
        return ops.stack(of_classes.stateless_update_state(start, labels, x))

    def reference(x, labels):
        bounds, weights = metric.bounds(labels, x, **options)
        shares = np.where(weights > 0, weights * bounds, 0.0)
        return np.stack([shares.sum(axis=0), weights.sum(axis=0)])

    return options, function, reference


def _crf(random, num_classes):
    options = {
        "iterations": random.randint(0, 3),
        "gaussian_sxy": random.choice((1, 3, (2, 5.5))),
        "gaussian_compat": random.choice((3, 0.0, [-1.0] * num_classes)),
        "bilateral_sxy": random.choice((5, 30, (67, 20))),
        "bilateral_srgb": random.choice((3, 13, (5, 13, 40))),
        "bilateral_compat": random.choice((10, 1.5)),
        "bilateral_normalization": random.choice(
            ("symmetric", "before", "after", None)
        ),
    }
    layer = keras_rmi.layers.DenseCRF(**options)

    def function(x, image):
        return layer([x, image])

    def reference(x, images):
        return np.stack(
            [dense_crf.dense_crf(*pair, **options) for pair in zip(x, images)]
        )

    return options, function, reference


# Maker, what else is given, whether statistics are computed.
TABLE = {
    "AverageDownsampling2D": (_average, "none", False),
    "MaxDownsampling2D": (_maximum, "none", False),
    "InterpolationDownsampling2D": (_interpolation, "none", False),
    "RegionVectors2D": (_vectors, "none", False),
    "DenseCRF": (_crf, "image", False),
    "region_mutual_information": (_bound, "dense", True),
    "RegionMutualInformation": (_metric, "ids", True),
}


def draw_map_problem(random, name):
    """Options and shapes for a row of the table."""
    make, labels, statistics = TABLE[name]
    num_classes = random.choice((2, 3, 7))
    options, function, reference = make(random, num_classes)
    side = options.get("radius", 1) * options.get("pool_size", 1)
    height, width = (side + random.choice((0, 1, 4)) for _ in range(2))
    most = max(1, contents.VOLUME // (height * width * num_classes))
    size = (min(most, random.choice((1, 2, 9))), height, width)
    return MapProblem(
        name,
        options,
        size,
        num_classes,
        function,
        reference,
        labels,
        statistics,
    )
