"""Models that hold everything of the package that can be saved.

    python tests/saved_models.py

writes one with the running backend for the tests of the others to load.
"""

import keras
import numpy as np

import keras_rmi
from support import BACKEND, RECORDED

CLASSES = 3
# No default among them.
OPTIONS = {
    "radius": [2, 3],
    "pooling": "max",
    "pool_size": 2,
    "rmi_weight": 0.25,
    "activation": "softmax",
    "from_logits": True,
    "ignore_class": [255, -1],
    "class_weights": [1.0, 0.5, 2.0],
    "epsilon": 1e-3,
    "axis": 1,
    "reduction": "sum",
    "name": "structure",
    "dtype": "float32",
}


def build_model(**options):
    """A network with fixed weights, compiled with the loss."""
    layers = keras_rmi.layers
    inputs = keras.Input((24, 21, 2))
    x = layers.AverageDownsampling2D((2, 1), data_format="channels_last")(
        inputs
    )
    x = layers.MaxDownsampling2D((1, 2), data_format="channels_last")(x)
    x = layers.InterpolationDownsampling2D(
        (1, 1), interpolation="nearest", data_format="channels_last"
    )(x)
    x = layers.RegionVectors2D((1, 2))(x)
    x = keras.layers.Reshape((*x.shape[1:3], 4))(x)
    x = keras.layers.Conv2D(CLASSES, 1, data_format="channels_last")(x)
    model = keras.Model(inputs, keras.layers.Permute((3, 1, 2))(x))
    rng = np.random.default_rng(7)
    model.set_weights(
        [rng.standard_normal(weight.shape) for weight in model.get_weights()]
    )
    model.compile(
        # Keras saves the optimizers that it has twice, SGD and Adam among
        # them, under a path that only a torch process can import.
        optimizer=keras.optimizers.Ftrl(),
        loss=keras_rmi.RMILoss(**(OPTIONS | options)),
        # What one backend compiles, another may not.
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def data():
    rng = np.random.default_rng(8)
    images = rng.standard_normal((2, 24, 21, 2)).astype("float32")
    labels = rng.integers(-1, CLASSES, (2, 13, 10)).astype("int32")
    labels[:, 3, :5] = 255
    return images, labels


if __name__ == "__main__":
    build_model().save(RECORDED / f"model_{BACKEND}.keras")
