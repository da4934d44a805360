"""Cross entropy at several scales."""

from collections.abc import Collection
from typing import Any

import keras
from keras import ops

from keras_rmi import _backend
from keras_rmi._types import Axis, ClassWeights, IgnoreClass
from keras_rmi._validation import check_number, message
from keras_rmi.losses.base import SegmentationLoss
from keras_rmi.ops.objective import pixel_and_region_loss
from keras_rmi.ops.predictions import check_channels, read_predictions
from keras_rmi.ops.resizing import (
    bilinear_samples,
    nearest_pixel,
    scaled_length,
)


def pyramid_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    scales: Collection[float] = (0.25, 0.5, 0.75, 1.0),
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Softmax cross entropy at several scales, of every image.

    The function behind `keras_rmi.PyramidLoss`, which says what the value
    means and what every option does.

    Args:
        y_true: Labels, as in `PyramidLoss`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        scales, from_logits, ignore_class, class_weights, axis: As in
            `PyramidLoss`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.zeros((2, 8, 8), "uint8")
    >>> logits = np.zeros((2, 8, 8, 3), "float32")
    >>> values = keras_rmi.pyramid_loss(labels, logits, scales=(0.5, 1.0),
    ...                                 from_logits=True)
    >>> [round(float(value), 4) for value in values]
    [1.0986, 1.0986]
    """
    loss = PyramidLoss(
        scales=scales,
        from_logits=from_logits,
        ignore_class=ignore_class,
        class_weights=class_weights,
        axis=axis,
        reduction=None,
        dtype="float32",
    )
    return loss(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="keras_rmi")
class PyramidLoss(SegmentationLoss):
    """Penalises wrong classes in the map and in smaller copies of it.

    In a smaller copy a pixel stands for several, so that large parts of the
    map count more than at full size. Use it instead of cross entropy for
    classes that fill areas, or as a baseline for losses that see regions.

    The value of an image is

        1/S sum_s CE(Y_s, X_s)

    with `s` one of the S `scales`, `CE` the softmax cross entropy of
    `keras_rmi.SoftmaxCrossentropy`, and `Y_s`, `X_s` the labels and the
    predictions at `h = max(1, floor(s H))` rows, likewise columns. Sample i
    lies at `i (H - 1) / (h - 1)`: predictions are interpolated there from
    the valid pixels around, labels and weights are those of the nearest
    pixel. At scale 1 nothing is resized. A scale at which all samples of an
    image are void adds 0.

    Computed in float32.

    Args:
        scales: Numbers in (0, 1]. Defaults to `(0.25, 0.5, 0.75, 1.0)`.
        from_logits: Whether `y_pred` are logits; probabilities otherwise.
            Logits are more accurate. Defaults to `False`.
        ignore_class: `None`, a class id or a tuple of them. Pixels of these
            classes are void. With dense labels, rows that are all zero, or
            that hold more than 0.5 of an ignored class, are void. Defaults to
            `None`.
        class_weights: `None` or C numbers >= 0 that multiply the share of
            each class. Defaults to `None`.
        axis: Axis of the channels, -1 or 1. Defaults to `-1`.
        reduction, name, dtype: As in `keras.losses.Loss`. `dtype` is that of
            the result.

    Input shape:
        As in `RMILoss`, with two channels or more. Pixels of weight 0 are
        void.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.zeros((1, 8, 8), "uint8")
    >>> labels[:, 2:6, 2:6] = 1
    >>> truth = np.eye(2, dtype="float32")[labels]
    >>> loss = keras_rmi.PyramidLoss(scales=(0.5, 1.0), from_logits=True)
    >>> [round(float(loss(labels, x * truth)), 4) for x in (0.0, 4.0)]
    [0.6931, 0.0181]

    Differences from the published code:

    1. It samples labels at `floor(i H / h)` and predictions at the centres of
       cells, which are up to a pixel apart. Here both lie at one place.
    2. Void pixels have no part in the interpolation, so their predictions
       have no gradient.
    3. The mean is over each image's pixels, not over those of the batch.

    References:
        Zhao, Wang, Yang, Cai, 2019, "Region Mutual Information Loss for
        Semantic Segmentation", https://arxiv.org/abs/1910.12037; in its code
    """

    _options = ("scales", *SegmentationLoss._common)

    def __init__(
        self,
        scales: Collection[float] = (0.25, 0.5, 0.75, 1.0),
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "pyramid_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._scales = _check_scales(scales)
        self._keep(from_logits, ignore_class, class_weights, axis)
        self.scales = scales

    def call(self, y_true, y_pred, sample_weight=None):
        x, labels, class_weights = self._read(y_true, y_pred, sample_weight)
        check_channels("softmax", x.shape[-1])
        reading = read_predictions("softmax", self.from_logits, class_weights)
        values = [
            pixel_and_region_loss(*_scaled(x, labels, scale), reading, 1.0)
            for scale in self._scales
        ]
        return sum(values) / len(values)


def _scaled(x, labels, scale):
    """Predictions and labels at a scale."""
    if scale == 1.0:
        return x, labels
    lengths = ops.shape(x)[1:3]
    size = [scaled_length(length, scale) for length in lengths]
    labels, valid = labels.at(*map(nearest_pixel, lengths, size)), labels.valid
    valid = valid[..., None]
    x = _backend.where(valid > 0, ops.cast(x, "float32"), 0.0)
    # The share of a valid sample is 1/4 at least: its pixel is the nearest.
    share = bilinear_samples(valid, size)
    counts = labels.valid[..., None] > 0
    x = bilinear_samples(x, size) / _backend.where(counts, share, 1.0)
    # Probabilities that are all zero would have no sum to be divided by.
    return _backend.where(counts, x, 1.0), labels


def _check_scales(scales):
    expected = "a sequence of numbers in (0, 1]"
    if isinstance(scales, (str, bytes, dict)) or not hasattr(scales, "__len__"):
        raise TypeError(message("scales", expected, scales))
    try:
        numbers = [
            check_number("scales", scale, 0.0, open_minimum=True)
            for scale in scales
        ]
    except (TypeError, ValueError) as error:
        raise type(error)(message("scales", expected, scales)) from None
    if not numbers or max(numbers) > 1:
        raise ValueError(message("scales", expected, scales))
    return numbers
