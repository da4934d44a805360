"""What every backend computes for the comparison.

All numbers come from numpy generators with fixed seeds, so they are the same
on each backend.
"""

from collections import namedtuple

import keras
import numpy as np

import keras_rmi

Case = namedtuple("Case", "name function x")

# Many more regions than a region has pixels, as in use.
HEIGHT, WIDTH, CLASSES = 62, 55, 4


def class_ids(seed, void=None, size=(2, HEIGHT, WIDTH), classes=CLASSES):
    """Blocks of classes, with a band of `void` where given."""
    generator = np.random.default_rng(seed)
    count, height, width = size
    coarse = generator.integers(
        0, classes, (count, height // 4 + 1, width // 4 + 1)
    )
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    ids = fine[:, :height, :width].astype("int32")
    if void is not None:
        ids[:, 5:8, 3:-8] = void
    return ids


def noise(seed, *shape, scale=2.0):
    generator = np.random.default_rng(seed)
    return (scale * generator.standard_normal(shape)).astype("float32")


def one_hot(ids):
    return np.eye(CLASSES, dtype="float32")[ids]


def _maps(seed):
    """Labels and logits that have something in common, as after training."""
    ids = class_ids(seed)
    logits = noise(seed + 1, 2, HEIGHT, WIDTH, CLASSES) + 2 * one_hot(ids) - 1
    return ids, logits


def _loss(
    name, y_true, x, sample_weight=None, loss=keras_rmi.RMILoss, **options
):
    options.setdefault("from_logits", True)
    loss = loss(reduction=None, **options)
    return Case(name, lambda x: loss(y_true, x, sample_weight), x)


OTHER_LOSSES = {
    keras_rmi.SigmoidCrossentropy: {"ignore_class": 255},
    keras_rmi.SoftmaxCrossentropy: {
        "ignore_class": 255,
        "label_smoothing": 0.1,
    },
    keras_rmi.TverskyLoss: {"ignore_class": 255, "beta": 0.75},
    keras_rmi.DiceLoss: {"ignore_class": 255, "activation": "sigmoid"},
    keras_rmi.JaccardLoss: {"ignore_class": 255},
    keras_rmi.FocalLoss: {"ignore_class": 255},
    keras_rmi.AffinityFieldLoss: {"ignore_class": 255, "sizes": (1, 3)},
    keras_rmi.PyramidLoss: {"ignore_class": 255},
}


def _composite(from_logits, reduction):
    common = {"from_logits": from_logits, "ignore_class": 255}
    parts = {
        "rmi": (keras_rmi.RMILoss(**common), 0.5),
        "ce": keras_rmi.SoftmaxCrossentropy(**common),
    }
    return keras_rmi.CompositeLoss(parts, reduction=reduction)


def loss_cases():
    ids, logits = _maps(10)
    void = class_ids(10, void=255)
    two_void = np.where(ids == 2, -1, void)
    generator = np.random.default_rng(20)
    pixel_weights = generator.uniform(0.0, 3.0, ids.shape).astype("float32")
    pixel_weights[pixel_weights < 0.5] = 0.0
    soft = generator.dirichlet(np.ones(CLASSES), ids.shape).astype("float32")
    mask, mask_logits = (ids > 1).astype("int32"), logits[..., :1]
    probabilities = 1 / (1 + np.exp(-logits))
    first = np.moveaxis(logits, -1, 1)
    return [
        _loss("default", ids, logits),
        _loss("max", ids, logits, pooling="max"),
        _loss("interpolate", ids, logits, pooling="interpolate"),
        _loss("no pooling", ids, logits, pooling=None),
        _loss("pool size 4", ids, logits, pool_size=4),
        _loss("pool size (2, 3)", ids, logits, pool_size=(2, 3)),
        _loss("radius 1", ids, logits, radius=1),
        _loss("radius 5", ids, logits, radius=5, pool_size=2),
        _loss("radius (2, 4)", ids, logits, radius=(2, 4)),
        _loss("softmax", ids, logits, activation="softmax"),
        _loss("probabilities", ids, probabilities, from_logits=False),
        _loss("void", void, logits, ignore_class=255),
        _loss(
            "two void, softmax, max",
            two_void,
            logits,
            ignore_class=(255, -1),
            activation="softmax",
            pooling="max",
        ),
        _loss("soft labels", soft, logits),
        _loss("class weights", ids, logits, class_weights=[0.0, 1.0, 2.5, 0.3]),
        _loss("image weights", ids, logits, np.array([0.5, 2.0], "float32")),
        _loss("pixel weights", ids, logits, pixel_weights),
        _loss("one channel", mask, mask_logits),
        _loss("channels first", ids, first, axis=1),
        _loss("pixel term alone", ids, logits, rmi_weight=0.0),
        _loss("region term alone", ids, logits, rmi_weight=1.0),
        *(
            _loss(loss.__name__, void, logits, loss=loss, **options)
            for loss, options in OTHER_LOSSES.items()
        ),
        _loss("composite", void, logits, pixel_weights, loss=_composite),
        _loss("hinge", mask, mask_logits, loss=keras_rmi.LovaszHingeLoss),
    ]


def hard_cases():
    """Where a gradient is rounding, or vanishes; only the values compare."""
    ids, logits = _maps(10)
    metric = keras_rmi.metrics.RegionMutualInformation(
        CLASSES, from_logits=True, ignore_class=255
    )

    def measure(x):
        before = [variable.value for variable in metric.variables]
        void = class_ids(10, void=255)
        return keras.ops.stack(metric.stateless_update_state(before, void, x))

    return [
        Case("metric", measure, logits),
        # Of errors that differ by rounding, either may come first.
        _loss("lovasz softmax", ids, logits, loss=keras_rmi.LovaszSoftmaxLoss),
        _loss("saturated", ids, 40 * one_hot(ids) - 20),
        _loss("constant map", ids, np.full_like(logits, 0.3)),
    ]


def other_cases():
    ids, logits = _maps(30)
    labels, probabilities = one_hot(ids), 1 / (1 + np.exp(-logits))
    layers = keras_rmi.layers
    downsampling = {
        "average layer": layers.AverageDownsampling2D(3),
        "max layer": layers.MaxDownsampling2D(3),
        "bilinear layer": layers.InterpolationDownsampling2D(3),
        "nearest layer": layers.InterpolationDownsampling2D(
            3, interpolation="nearest"
        ),
        "region layer": layers.RegionVectors2D(2),
    }
    rows = [Case(name, layer, logits) for name, layer in downsampling.items()]
    rows.append(
        Case(
            "mutual information",
            lambda x: keras_rmi.ops.region_mutual_information(labels, x),
            probabilities,
        )
    )
    return rows


TRAINED_LOSSES = {
    "sigmoid": {"ignore_class": 255},
    "softmax, max": {
        "ignore_class": 255,
        "activation": "softmax",
        "pooling": "max",
        "pool_size": 2,
    },
}


def training_curve(options, steps=10, size=(4, 24, 24)):
    """Loss at each step of a small network, from fixed weights and batches."""
    model = keras.Sequential(
        [
            keras.Input((*size[1:], 3)),
            keras.layers.Conv2D(12, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.UpSampling2D(2),
            keras.layers.Conv2D(CLASSES, 3, padding="same"),
        ]
    )
    generator = np.random.default_rng(40)
    model.set_weights(
        [
            generator.standard_normal(weight.shape)
            * (2 / max(1, np.prod(weight.shape[:-1]))) ** 0.5
            * (len(weight.shape) > 1)
            for weight in model.get_weights()
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        loss=keras_rmi.RMILoss(from_logits=True, **options),
    )
    curve = []
    colours = generator.standard_normal((256, 3))
    for step in range(steps):
        ids = class_ids(50 + step, void=255, size=size)
        images = colours[ids] + 0.5 * generator.standard_normal((*size, 3))
        # Keras reports the mean since the last reset.
        model.reset_metrics()
        curve.append(model.train_on_batch(images.astype("float32"), ids))
    return np.array(curve, "float64")
