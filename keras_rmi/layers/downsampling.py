"""Down-sampling of maps with the borders that the RMI loss uses."""

from typing import Any, Literal

import keras
from keras import ops

from keras_rmi._types import DataFormat, IntOrPair
from keras_rmi._validation import check_choice, check_pair, message
from keras_rmi.ops.downsampling import (
    InterpolationDownsampling,
    WindowDownsampling,
)


class _Downsampling2D(keras.layers.Layer):
    """Applies `self._downsample` to a map of either data format."""

    def __init__(self, pool_size, data_format, **kwargs):
        super().__init__(**kwargs)
        self._factors = check_pair("pool_size", pool_size)
        self.pool_size = pool_size
        self.data_format = keras.config.image_data_format()
        if data_format is not None:
            self.data_format = check_choice(
                "data_format", data_format, ("channels_last", "channels_first")
            )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs):
        # Raises where the map is too small.
        self.compute_output_shape(tuple(inputs.shape))
        if self.data_format == "channels_last":
            return self._downsample(inputs)
        outputs = self._downsample(ops.transpose(inputs, (0, 2, 3, 1)))
        return ops.transpose(outputs, (0, 3, 1, 2))

    def compute_output_shape(self, input_shape):
        first = 1 if self.data_format == "channels_last" else 2
        size = tuple(input_shape[first : first + 2])
        pooled = self._downsample.output_size(size)
        if 0 in pooled:
            raise ValueError(
                message(
                    "pool_size",
                    f"factors that fit into inputs of size {size}",
                    self.pool_size,
                )
            )
        return (*input_shape[:first], *pooled, *input_shape[first + 2 :])

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "data_format": self.data_format,
        }


@keras.saving.register_keras_serializable(package="keras_rmi")
class AverageDownsampling2D(_Downsampling2D):
    """Averages windows, with the zero padding of the published RMI loss.

    Use it to see the maps that the statistics of `keras_rmi.RMILoss` see.
    Unlike `keras.layers.AveragePooling2D`, it pads `k // 2` zeros on both
    sides of both axes, and counts them:

        out[i, j] = 1/(k k) sum_{a, b < k} in[i k + a - p, j k + b - p]

    with `k` the factor, `p = k // 2`, and `in` zero outside of the map.
    Windows that do not fit are dropped: `(H + 2 p - k) // k + 1` rows remain.

    Args:
        pool_size: Factor `k`, an integer >= 1 or a pair (rows, columns).
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `keras.config.image_data_format()`.
        **kwargs: As in `keras.layers.Layer`.

    Input shape:
        (N,H,W,C), or (N,C,H,W) with `"channels_first"`.

    Output shape:
        (N,h,w,C), or (N,C,h,w).

    Example:

    >>> import numpy as np
    >>> from keras_rmi.layers import AverageDownsampling2D
    >>> outputs = AverageDownsampling2D(2)(np.ones((1, 5, 5, 1), "float32"))
    >>> tuple(outputs.shape), float(outputs[0, 0, 0, 0])
    ((1, 3, 3, 1), 0.25)

    References:
        Zhao, Wang, Yang, Cai, 2019, "Region Mutual Information Loss for
        Semantic Segmentation", https://arxiv.org/abs/1910.12037
    """

    def __init__(
        self,
        pool_size: IntOrPair,
        data_format: DataFormat = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, data_format, **kwargs)
        self._downsample = WindowDownsampling(self._factors)


@keras.saving.register_keras_serializable(package="keras_rmi")
class MaxDownsampling2D(_Downsampling2D):
    """Takes the maximum of windows, with the borders of the RMI loss.

    Use it to see the maps that the statistics of `keras_rmi.RMILoss` see
    with `pooling="max"`. Unlike `keras.layers.MaxPooling2D`, the windows
    start `k // 2` cells outside of the map:

        out[i, j] = max_{a, b < k} in[i k + a - k // 2, j k + b - k // 2]

    with `k` the factor, over the cells that exist. Windows that do not fit
    are dropped: `(H + 2 (k // 2) - k) // k + 1` rows remain.

    Args:
        pool_size: Factor `k`, an integer >= 1 or a pair (rows, columns).
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `keras.config.image_data_format()`.
        **kwargs: As in `keras.layers.Layer`.

    Input shape:
        (N,H,W,C), or (N,C,H,W) with `"channels_first"`.

    Output shape:
        (N,h,w,C), or (N,C,h,w).

    Example:

    >>> import numpy as np
    >>> from keras_rmi.layers import MaxDownsampling2D
    >>> inputs = -np.ones((1, 5, 5, 1), "float32")
    >>> outputs = MaxDownsampling2D(2)(inputs)
    >>> tuple(outputs.shape), float(outputs[0, 0, 0, 0])
    ((1, 3, 3, 1), -1.0)

    References:
        Zhao, Wang, Yang, Cai, 2019, "Region Mutual Information Loss for
        Semantic Segmentation", https://arxiv.org/abs/1910.12037
    """

    def __init__(
        self,
        pool_size: IntOrPair,
        data_format: DataFormat = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, data_format, **kwargs)
        self._downsample = WindowDownsampling(self._factors, average=False)


@keras.saving.register_keras_serializable(package="keras_rmi")
class InterpolationDownsampling2D(_Downsampling2D):
    """Samples a map to `H // k` rows, with the corners aligned.

    Use it to see the maps that the statistics of `keras_rmi.RMILoss` see
    with `pooling="interpolate"`: `"bilinear"` for probabilities, `"nearest"`
    for labels. Along an axis of `H` pixels and `h = H // k` samples:

        bilinear: sample i lies at i (H - 1) / (h - 1)
        nearest:  sample i is pixel floor(i H / h)

    These are the published rules, at the end about `k - 1` pixels apart.

    Args:
        pool_size: Factor `k`, an integer >= 1 or a pair (rows, columns).
        interpolation: `"bilinear"` or `"nearest"`. Defaults to `"bilinear"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `keras.config.image_data_format()`.
        **kwargs: As in `keras.layers.Layer`.

    Input shape:
        (N,H,W,C), or (N,C,H,W) with `"channels_first"`.

    Output shape:
        (N, H // k, W // k, C), or (N, C, H // k, W // k).

    Example:

    >>> import numpy as np
    >>> from keras_rmi.layers import InterpolationDownsampling2D
    >>> inputs = np.arange(5, dtype="float32").reshape(1, 5, 1, 1)
    >>> outputs = InterpolationDownsampling2D((2, 1))(inputs)
    >>> [float(value) for value in outputs[0, :, 0, 0]]
    [0.0, 4.0]

    References:
        Zhao, Wang, Yang, Cai, 2019, "Region Mutual Information Loss for
        Semantic Segmentation", https://arxiv.org/abs/1910.12037
    """

    def __init__(
        self,
        pool_size: IntOrPair,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
        data_format: DataFormat = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, data_format, **kwargs)
        self.interpolation = check_choice(
            "interpolation", interpolation, ("bilinear", "nearest")
        )
        self._downsample = InterpolationDownsampling(
            self._factors, nearest=interpolation == "nearest"
        )

    def get_config(self):
        return {**super().get_config(), "interpolation": self.interpolation}
