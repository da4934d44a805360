"""Focal loss."""

from typing import Any

import keras

from keras_rmi._types import Activation, Axis, ClassWeights, IgnoreClass
from keras_rmi._validation import check_choice, check_number
from keras_rmi.losses.base import SegmentationLoss
from keras_rmi.ops.focal import SigmoidFocal, SoftmaxFocal
from keras_rmi.ops.objective import pixel_and_region_loss
from keras_rmi.ops.predictions import as_logits, check_channels


def focal_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    gamma: float = 2.0,
    alpha: float | None = None,
    activation: Activation = "softmax",
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Focal loss of every image, without reduction.

    The function behind `keras_rmi.FocalLoss`, which says what the value means
    and what every option does.

    Args:
        y_true: Labels, as in `FocalLoss`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        gamma, alpha, activation, from_logits, ignore_class, class_weights,
            axis: As in `FocalLoss`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.array([[[0, 1]], [[1, 0]]])
    >>> predictions = np.array([[[[0.9, 0.1], [0.4, 0.6]]]] * 2)
    >>> values = keras_rmi.focal_loss(labels, predictions)
    >>> [round(float(value), 4) for value in values]
    [0.0414, 1.0975]
    """
    loss = FocalLoss(
        gamma=gamma,
        alpha=alpha,
        activation=activation,
        from_logits=from_logits,
        ignore_class=ignore_class,
        class_weights=class_weights,
        axis=axis,
        reduction=None,
        dtype="float32",
    )
    return loss(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="keras_rmi")
class FocalLoss(SegmentationLoss):
    """Penalises pixels that are wrong or unsure, and spares the easy ones.

    Cross entropy that fades where a pixel is right with confidence. Use it
    instead of cross entropy when easy pixels, most of all background, are so
    many that their small losses add up to more than those of the hard ones.

    The value of an image is `sum_i v_i l_i / sum_i v_i`, where the loss of a
    pixel is

        softmax: l_i = -alpha sum_c w_c y_ic (1 - p_ic)^gamma ln p_ic
        sigmoid: l_i = 1/C sum_c w_c a_ic m_ic^gamma h_ic
                 h = -y ln p - (1 - y) ln(1 - p)
                 m = y (1 - p) + (1 - y) p
                 a = alpha y + (1 - alpha) (1 - y)

    with `v_i` the weight of pixel `i` (0 where void), `c` a class, `w_c` its
    weight, `y` the labels and `p` the probabilities. Without an `alpha` both
    of its factors are 1. Then `gamma=0` gives cross entropy.

    Computed in float32. No map of full resolution is kept for the gradient of
    logits.

    Args:
        gamma: How fast the loss fades, >= 0. Defaults to `2.0`.
        alpha: `None`, or a number in [0, 1]: with `"sigmoid"` the weight of
            positives, while that of negatives is `1 - alpha`; with
            `"softmax"` a factor of all, as in Keras, where `class_weights`
            balance the classes. Defaults to `None`.
        activation: `"sigmoid"` or `"softmax"`: what turns logits into
            probabilities, and which cross entropy is used. One channel needs
            `"sigmoid"`. Defaults to `"softmax"`.
        from_logits: Whether `y_pred` are logits; probabilities otherwise.
            Defaults to `False`.
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
    >>> logits = np.array([[[[4.0, 0.0], [0.5, 0.0], [9.0, 0.0]]]])
    >>> losses = [keras_rmi.FocalLoss(gamma=gamma, from_logits=True,
    ...                               ignore_class=255) for gamma in (0, 2)]
    >>> [round(float(loss(labels, logits)), 3) for loss in losses]
    [0.496, 0.189]

    Differences from the paper:
        It has sigmoid and sums over the classes. Here the mean is taken, as
        in Keras, and softmax is Keras' generalisation.

    References:
        Lin, Goyal, Girshick, He, Dollar, 2017, "Focal Loss for Dense Object
        Detection", https://arxiv.org/abs/1708.02002
    """

    _options = ("gamma", "alpha", "activation", *SegmentationLoss._common)

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = None,
        activation: Activation = "softmax",
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "focal_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        check_number("gamma", gamma, 0.0)
        if alpha is not None:
            check_number("alpha", alpha, 0.0, maximum=1.0)
        check_choice("activation", activation, ("sigmoid", "softmax"))
        self._keep(from_logits, ignore_class, class_weights, axis)
        self.gamma = gamma
        self.alpha = alpha
        self.activation = activation

    def call(self, y_true, y_pred, sample_weight=None):
        x, labels, class_weights = self._read(y_true, y_pred, sample_weight)
        channels = x.shape[-1]
        check_channels(self.activation, channels)
        softmax = self.activation == "softmax"
        reading = (SoftmaxFocal if softmax else SigmoidFocal)(
            float(self.gamma),
            None if self.alpha is None else float(self.alpha),
            class_weights,
        )
        return pixel_and_region_loss(
            as_logits(self.activation, self.from_logits, x),
            labels,
            reading,
            1.0 if softmax else 1.0 / channels,
        )
