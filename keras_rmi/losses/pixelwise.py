"""Cross entropies, pixel by pixel."""

from typing import Any, Literal

import keras

from keras_rmi._types import Axis, ClassWeights, IgnoreClass
from keras_rmi._validation import check_choice, check_number
from keras_rmi.losses.base import SegmentationLoss
from keras_rmi.ops.label_forms import smooth_labels
from keras_rmi.ops.objective import pixel_and_region_loss
from keras_rmi.ops.predictions import check_channels, read_predictions


def sigmoid_crossentropy(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    label_smoothing: float = 0.0,
    class_reduction: Literal["sum", "mean"] = "sum",
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Sigmoid cross entropy of every image, without reduction.

    The function behind `keras_rmi.SigmoidCrossentropy`, which says what the
    value means and what every option does.

    Args:
        y_true: Labels, as in `SigmoidCrossentropy`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        label_smoothing, class_reduction, from_logits, ignore_class,
            class_weights, axis: As in `SigmoidCrossentropy`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.zeros((2, 4, 4), "uint8")
    >>> logits = np.zeros((2, 4, 4, 3), "float32")
    >>> values = keras_rmi.sigmoid_crossentropy(labels, logits,
    ...                                         from_logits=True)
    >>> [round(float(value), 4) for value in values]
    [2.0794, 2.0794]
    """
    loss = SigmoidCrossentropy(
        label_smoothing=label_smoothing,
        class_reduction=class_reduction,
        from_logits=from_logits,
        ignore_class=ignore_class,
        class_weights=class_weights,
        axis=axis,
        reduction=None,
        dtype="float32",
    )
    return loss(y_true, y_pred, sample_weight)


def softmax_crossentropy(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    label_smoothing: float = 0.0,
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Softmax cross entropy of every image, without reduction.

    The function behind `keras_rmi.SoftmaxCrossentropy`, which says what the
    value means and what every option does.

    Args:
        y_true: Labels, as in `SoftmaxCrossentropy`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        label_smoothing, from_logits, ignore_class, class_weights, axis: As in
            `SoftmaxCrossentropy`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.zeros((2, 4, 4), "uint8")
    >>> logits = np.zeros((2, 4, 4, 3), "float32")
    >>> values = keras_rmi.softmax_crossentropy(labels, logits,
    ...                                         from_logits=True)
    >>> [round(float(value), 4) for value in values]
    [1.0986, 1.0986]
    """
    loss = SoftmaxCrossentropy(
        label_smoothing=label_smoothing,
        from_logits=from_logits,
        ignore_class=ignore_class,
        class_weights=class_weights,
        axis=axis,
        reduction=None,
        dtype="float32",
    )
    return loss(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="keras_rmi")
class SigmoidCrossentropy(SegmentationLoss):
    """Penalises each class of each pixel by itself.

    The usual baseline for masks and for classes that may overlap, and the
    pixel term of `RMILoss`. Use it instead of Keras' `BinaryCrossentropy`
    for class ids, void pixels and weights of classes or pixels.

    The value of an image is

        sum_i v_i l_i / sum_i v_i
        l_i = -sum_c w_c (y_ic ln p_ic + (1 - y_ic) ln(1 - p_ic))

    with `i` a pixel, `v_i` its weight (0 where void), `c` a class, `w_c` its
    weight, `y` the labels and `p` the probabilities. With
    `class_reduction="mean"`, `l_i` is divided by the number of classes C.

    Computed in float32. No map of full resolution is kept for the gradient.

    Args:
        label_smoothing: Share s of the label 1/2, in [0, 1): labels become
            `(1 - s) y + s / 2`. Void stays void. Defaults to `0.0`.
        class_reduction: `"sum"` over the classes, as published with RMI, or
            `"mean"`, as in Keras. Defaults to `"sum"`.
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
        As in `RMILoss`. Pixels of weight 0 are void.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.array([[[0, 1, 255]]])
    >>> logits = np.array([[[[2.0, -2.0], [2.0, -2.0], [9.0, 9.0]]]])
    >>> loss = keras_rmi.SigmoidCrossentropy(from_logits=True,
    ...                                      ignore_class=255)
    >>> round(float(loss(labels, logits)), 4)
    2.2539

    References:
        Zhao, Wang, Yang, Cai, 2019, "Region Mutual Information Loss for
        Semantic Segmentation", https://arxiv.org/abs/1910.12037
    """

    _options = ("label_smoothing", "class_reduction", *SegmentationLoss._common)

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_reduction: Literal["sum", "mean"] = "sum",
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "sigmoid_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        _check_smoothing(label_smoothing)
        check_choice("class_reduction", class_reduction, ("sum", "mean"))
        self._keep(from_logits, ignore_class, class_weights, axis)
        self.label_smoothing = label_smoothing
        self.class_reduction = class_reduction

    def call(self, y_true, y_pred, sample_weight=None):
        x, labels, class_weights = self._read(y_true, y_pred, sample_weight)
        mean = self.class_reduction == "mean"
        return pixel_and_region_loss(
            x,
            smooth_labels(labels, float(self.label_smoothing), 2),
            read_predictions("sigmoid", self.from_logits, class_weights),
            1.0 / x.shape[-1] if mean else 1.0,
        )


@keras.saving.register_keras_serializable(package="keras_rmi")
class SoftmaxCrossentropy(SegmentationLoss):
    """Penalises the share of probability that misses the class of a pixel.

    The usual baseline for classes that exclude each other. Use it instead of
    Keras' cross entropies for void pixels, several of them, and weights of
    classes or pixels.

    The value of an image is

        sum_i v_i l_i / sum_i v_i
        l_i = -sum_c w_c y_ic ln p_ic

    with `i` a pixel, `v_i` its weight (0 where void), `c` a class, `w_c` its
    weight, `y` the labels and `p` the probabilities. Probabilities that are
    given are made to sum to one, as in Keras.

    Computed in float32. No map of full resolution is kept for the gradient.

    Args:
        label_smoothing: Share s of the uniform label, in [0, 1): labels
            become `(1 - s) y + s / C`. Void stays void. Defaults to `0.0`.
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
    >>> labels = np.array([[[0, 1, 255]]])
    >>> logits = np.array([[[[2.0, -2.0], [2.0, -2.0], [9.0, 9.0]]]])
    >>> loss = keras_rmi.SoftmaxCrossentropy(from_logits=True,
    ...                                      ignore_class=255)
    >>> round(float(loss(labels, logits)), 4)
    2.0181

    References:
        Goodfellow, Bengio, Courville, 2016, "Deep Learning", section 6.2,
        https://www.deeplearningbook.org
    """

    _options = ("label_smoothing", *SegmentationLoss._common)

    def __init__(
        self,
        label_smoothing: float = 0.0,
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "softmax_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        _check_smoothing(label_smoothing)
        self._keep(from_logits, ignore_class, class_weights, axis)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred, sample_weight=None):
        x, labels, class_weights = self._read(y_true, y_pred, sample_weight)
        channels = x.shape[-1]
        check_channels("softmax", channels, "Use `SigmoidCrossentropy`.")
        return pixel_and_region_loss(
            x,
            smooth_labels(labels, float(self.label_smoothing), channels),
            read_predictions("softmax", self.from_logits, class_weights),
            1.0,
        )


def _check_smoothing(value):
    check_number("label_smoothing", value, 0.0, maximum=1.0, open_maximum=True)
