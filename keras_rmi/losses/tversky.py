"""Tversky loss, and what the losses of overlapping areas share."""

from typing import Any

import keras

from keras_rmi._types import (
    Activation,
    Axis,
    Classes,
    ClassWeights,
    IgnoreClass,
)
from keras_rmi._validation import check_choice, check_number
from keras_rmi.losses.base import SegmentationLoss
from keras_rmi.ops.overlap import mean_over_classes, overlap_loss
from keras_rmi.ops.predictions import as_probabilities, check_channels


def tversky_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 0.0,
    classes: Classes = "present",
    activation: Activation = "softmax",
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Tversky loss of every image, without reduction.

    The function behind `keras_rmi.TverskyLoss`, which says what the value means
    and what every option does.

    Args:
        y_true: Labels, as in `TverskyLoss`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        alpha, beta, smooth, classes, activation, from_logits, ignore_class,
            class_weights, axis: As in `TverskyLoss`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.array([[[0, 1]], [[1, 0]]])
    >>> predictions = np.array([[[[0.9, 0.1], [0.4, 0.6]]]] * 2)
    >>> values = keras_rmi.tversky_loss(labels, predictions, beta=1.0)
    >>> [round(float(value), 4) for value in values]
    [0.3393, 0.8236]
    """
    loss = TverskyLoss(
        alpha=alpha,
        beta=beta,
        smooth=smooth,
        classes=classes,
        activation=activation,
        from_logits=from_logits,
        ignore_class=ignore_class,
        class_weights=class_weights,
        axis=axis,
        reduction=None,
        dtype="float32",
    )
    return loss(y_true, y_pred, sample_weight)


class OverlapLoss(SegmentationLoss):
    """What `_alpha` and `_beta` turn into Tversky, Dice or Jaccard."""

    _overlap_options = (
        "smooth",
        "classes",
        "activation",
        *SegmentationLoss._common,
    )

    def _keep_overlap(self, smooth, classes, activation):
        check_number("smooth", smooth, 0.0)
        check_choice("classes", classes, ("present", "all"))
        check_choice("activation", activation, ("sigmoid", "softmax"))
        self.smooth = smooth
        self.classes = classes
        self.activation = activation

    def call(self, y_true, y_pred, sample_weight=None):
        x, labels, class_weights = self._read(y_true, y_pred, sample_weight)
        check_channels(self.activation, x.shape[-1])
        values, labelled = overlap_loss(
            as_probabilities(self.activation, self.from_logits, x),
            labels,
            self._alpha,
            self._beta,
            float(self.smooth),
        )
        return mean_over_classes(
            values, labelled, labels, self.classes, class_weights
        )


@keras.saving.register_keras_serializable(package="keras_rmi")
class TverskyLoss(OverlapLoss):
    """Penalises false positives and false negatives relative to the area.

    A class counts by the share of its area that is right, however small the
    area is. Use it instead of, or added to, cross entropy when classes are
    rare, with `beta > alpha` when missing a pixel is worse than a false alarm.

    The value of an image is the weighted mean over the classes of

        1 - (TP_c + s) / (TP_c + alpha FP_c + beta FN_c + s)

        TP_c = sum_i v_i p_ic y_ic
        FP_c = sum_i v_i p_ic (1 - y_ic)
        FN_c = sum_i v_i (1 - p_ic) y_ic

    with `c` a class, `i` a pixel, `v_i` its weight (0 where void, and scaled
    to a mean of 1 over the valid pixels of the image), `y` the labels, `p` the
    probabilities and `s` the option `smooth`. `keras.config.epsilon()` is
    added to the denominator. Computed in float32.

    A class that no pixel of the image has is left out of the mean. With
    `classes="all"` it counts: its value is 1 without a gradient if `smooth`
    is 0, as in Keras, and `1 - s / (s + alpha FP_c)` otherwise. An image that
    has none of the classes, or is void, has the value 0.

    Args:
        alpha: Weight of false positives, >= 0. Defaults to `0.5`.
        beta: Weight of false negatives, >= 0. Defaults to `0.5`.
        smooth: Number of pixels added to both areas, >= 0. Defaults to `0.0`.
        classes: `"present"`, the classes that the labels of the image have,
            or `"all"`. Take `"all"` and a `smooth` of 1 where a mask may be
            empty and must stay so. Defaults to `"present"`.
        activation: `"sigmoid"` or `"softmax"`: what turns logits into
            probabilities. One channel needs `"sigmoid"`. Defaults to
            `"softmax"`.
        from_logits: Whether `y_pred` are logits; probabilities otherwise.
            Defaults to `False`.
        ignore_class: `None`, a class id or a tuple of them. Pixels of these
            classes are void. With dense labels, rows that are all zero, or
            that hold more than 0.5 of an ignored class, are void. Defaults to
            `None`.
        class_weights: `None` or C numbers >= 0, the weights of the mean over
            the classes. Defaults to `None`.
        axis: Axis of the channels, -1 or 1. Defaults to `-1`.
        reduction, name, dtype: As in `keras.losses.Loss`. `dtype` is that of
            the result.

    Input shape:
        As in `RMILoss`. Pixels of weight 0 are void, other weights are those
        of the sums.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.array([[[0, 1, 1, 255]]])
    >>> logits = np.array([[[[4.0, 0], [0, 4.0], [4.0, 0], [9.0, 0]]]])
    >>> losses = [keras_rmi.TverskyLoss(beta=b, from_logits=True,
    ...                                 ignore_class=255) for b in (0.1, 0.9)]
    >>> [round(float(loss(labels, logits)), 3) for loss in losses]
    [0.218, 0.41]

    Differences from the paper:
        It has one class. Keras' `Tversky` (3.15) calls the weight of false
        negatives `alpha`; its documentation says what the paper and this loss
        mean.

    References:
        Salehi, Erdogmus, Gholipour, 2017, "Tversky loss function for image
        segmentation using 3D fully convolutional deep networks",
        https://arxiv.org/abs/1706.05721
    """

    _options = ("alpha", "beta", *OverlapLoss._overlap_options)

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        smooth: float = 0.0,
        classes: Classes = "present",
        activation: Activation = "softmax",
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._alpha = check_number("alpha", alpha, 0.0)
        self._beta = check_number("beta", beta, 0.0)
        self._keep_overlap(smooth, classes, activation)
        self._keep(from_logits, ignore_class, class_weights, axis)
        self.alpha = alpha
        self.beta = beta
