"""Regions of a map as vectors."""

from typing import Any

import keras

from keras_rmi._types import IntOrPair
from keras_rmi._validation import check_pair, message
from keras_rmi.ops.regions import region_vectors


@keras.saving.register_keras_serializable(package="keras_rmi")
class RegionVectors2D(keras.layers.Layer):
    """Represents each pixel by its neighbourhood of R x R pixels.

    Use it to look at the distributions that `keras_rmi.RMILoss` compares, or
    to build statistics of your own. Stride 1, no padding:

        out[n, i, j, c, a R + b] = in[n, i + a, j + b, c],   a, b < R

    Args:
        radius: Side R of the region, an integer >= 1 or a pair
            (rows, columns). Defaults to `3`.
        **kwargs: As in `keras.layers.Layer`.

    Input shape:
        (N,H,W,C).

    Output shape:
        (N, H - R + 1, W - R + 1, C, R * R).

    Example:

    >>> import numpy as np
    >>> from keras_rmi.layers import RegionVectors2D
    >>> inputs = np.arange(9, dtype="float32").reshape(1, 3, 3, 1)
    >>> outputs = RegionVectors2D(2)(inputs)
    >>> tuple(outputs.shape), [float(v) for v in outputs[0, 0, 0, 0]]
    ((1, 2, 2, 1, 4), [0.0, 1.0, 3.0, 4.0])

    References:
        Zhao, Wang, Yang, Cai, 2019, "Region Mutual Information Loss for
        Semantic Segmentation", https://arxiv.org/abs/1910.12037
    """

    def __init__(self, radius: IntOrPair = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._region = check_pair("radius", radius)
        self.radius = radius
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs):
        # Raises where the map is too small.
        self.compute_output_shape(tuple(inputs.shape))
        return region_vectors(inputs, self._region)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        rows, columns = self._region
        if (height is not None and height < rows) or (
            width is not None and width < columns
        ):
            raise ValueError(
                message(
                    "radius",
                    f"a region that fits into inputs of size {(height, width)}",
                    self.radius,
                )
            )
        return (
            batch,
            None if height is None else height - rows + 1,
            None if width is None else width - columns + 1,
            channels,
            rows * columns,
        )

    def get_config(self):
        return {**super().get_config(), "radius": self.radius}
