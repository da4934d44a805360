"""Trained weights of the sizes of an affinity field."""

from typing import Any

import keras
from keras import ops

from keras_rmi._types import DataFormat
from keras_rmi._validation import check_choice, check_integer, message


@keras.saving.register_keras_serializable(package="keras_rmi")
class AffinityFieldWeights(keras.layers.Layer):
    """Learns at which distance the neighbours of each class matter most.

    Use it as the last layer of a model, and give it to the loss: it returns
    its inputs, and holds the weights that `keras_rmi.AffinityFieldLoss` takes
    instead of the mean over its sizes,

        share[s, k, c] = softmax_s(a[s, k, c])

    with `s` a size, `k` the kind of a pair (edge or not), `c` a class and `a`
    the trained weights, which start at 0. They are trained against the model:
    `fit` makes the loss small by the model's own weights and large by these.

    A loaded model has a loss of its own, which knows no layer of the model:
    compile it again with a loss that has `model.layers[-1]` to train on.

    Args:
        num_sizes: Number of sizes of the loss, an integer >= 1.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `keras.config.image_data_format()`.
        **kwargs: As in `keras.layers.Layer`.

    Input shape:
        (N,H,W,C), or (N,C,H,W) with `"channels_first"`.

    Output shape:
        As the input shape.

    Example:

    >>> import keras, keras_rmi
    >>> weights = keras_rmi.layers.AffinityFieldWeights(3)
    >>> model = keras.Sequential([keras.layers.Conv2D(5, 3), weights])
    >>> loss = keras_rmi.AffinityFieldLoss(sizes=(1, 2, 3), adaptive=weights)
    >>> model.compile(optimizer="sgd", loss=loss)
    >>> model.build((None, 16, 16, 3))
    >>> tuple(weights.trainable_weights[0].shape)
    (3, 2, 5)

    References:
        Ke, Hwang, Liu, Yu, 2018, "Adaptive Affinity Fields for Semantic
        Segmentation", https://arxiv.org/abs/1803.10335
    """

    def __init__(
        self,
        num_sizes: int,
        data_format: DataFormat = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("num_sizes", num_sizes, minimum=1)
        self.num_sizes = num_sizes
        self.data_format = keras.config.image_data_format()
        if data_format is not None:
            self.data_format = check_choice(
                "data_format", data_format, ("channels_last", "channels_first")
            )
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self._scores = None

    def build(self, input_shape):
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        self._scores = self.add_weight(
            shape=(self.num_sizes, 2, channels),
            initializer="zeros",
            dtype="float32",
            name="scores",
        )

    def call(self, inputs):
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def shares(self, num_sizes, num_classes):
        """Weights of the sizes, (S,2,C), for a loss with so many."""
        if self._scores is None:
            raise ValueError(
                message(
                    "adaptive",
                    "a layer of the model that is trained",
                    self.name,
                    "Compile the model with a loss that has its own layer.",
                )
            )
        shape = (num_sizes, 2, num_classes)
        if tuple(self._scores.shape) != shape:
            raise ValueError(
                message(
                    "adaptive",
                    f"a layer with weights {shape}",
                    tuple(self._scores.shape),
                )
            )
        return ops.softmax(ops.convert_to_tensor(self._scores), axis=0)

    def get_config(self):
        return {
            **super().get_config(),
            "num_sizes": self.num_sizes,
            "data_format": self.data_format,
        }
