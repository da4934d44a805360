"""Dice and Jaccard loss."""

from typing import Any

import keras

from keras_rmi._types import (
    Activation,
    Axis,
    Classes,
    ClassWeights,
    IgnoreClass,
)
from keras_rmi.losses.tversky import OverlapLoss


def dice_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    smooth: float = 0.0,
    classes: Classes = "present",
    activation: Activation = "softmax",
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Dice loss of every image, without reduction.

    The function behind `keras_rmi.DiceLoss`, which says what the value means
    and what every option does.

    Args:
        y_true: Labels, as in `DiceLoss`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        smooth, classes, activation, from_logits, ignore_class, class_weights,
            axis: As in `DiceLoss`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.array([[[0, 1]], [[1, 0]]])
    >>> predictions = np.array([[[[0.9, 0.1], [0.4, 0.6]]]] * 2)
    >>> values = keras_rmi.dice_loss(labels, predictions)
    >>> [round(float(value), 4) for value in values]
    [0.2558, 0.7673]
    """
    loss = DiceLoss(
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


def jaccard_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    smooth: float = 0.0,
    classes: Classes = "present",
    activation: Activation = "softmax",
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Jaccard loss of every image, without reduction.

    The function behind `keras_rmi.JaccardLoss`, which says what the value means
    and what every option does.

    Args:
        y_true: Labels, as in `JaccardLoss`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        smooth, classes, activation, from_logits, ignore_class, class_weights,
            axis: As in `JaccardLoss`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.array([[[0, 1]], [[1, 0]]])
    >>> predictions = np.array([[[[0.9, 0.1], [0.4, 0.6]]]] * 2)
    >>> values = keras_rmi.jaccard_loss(labels, predictions)
    >>> [round(float(value), 4) for value in values]
    [0.4058, 0.8635]
    """
    loss = JaccardLoss(
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


@keras.saving.register_keras_serializable(package="keras_rmi")
class DiceLoss(OverlapLoss):
    """Penalises areas by one minus their Dice coefficient, or F1 score.

    A class counts by the share of its area that is right, however small the
    area is. Use it instead of, or added to, cross entropy when classes are
    rare or small masks are lost.

    The value of an image is the weighted mean over the classes of

        1 - 2 (TP_c + s) / (2 TP_c + FP_c + FN_c + 2 s)

    with the symbols of `TverskyLoss`, of which it is the case
    `alpha = beta = 0.5`. An absent class does what it does there.

    Args:
        smooth, classes, activation, from_logits, ignore_class, class_weights,
            axis: As in `TverskyLoss`.
        reduction, name, dtype: As in `keras.losses.Loss`. `dtype` is that of
            the result.

    Input shape:
        As in `TverskyLoss`.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> mask = np.array([[[0, 1, 1, 255]]])
    >>> logits = np.array([[[[-4.0], [4.0], [-4.0], [9.0]]]])
    >>> loss = keras_rmi.DiceLoss(activation="sigmoid", from_logits=True,
    ...                           ignore_class=255)
    >>> round(float(loss(mask, logits)), 3)
    0.337

    References:
        Milletari, Navab, Ahmadi, 2016, "V-Net: Fully Convolutional Neural
        Networks for Volumetric Medical Image Segmentation",
        https://arxiv.org/abs/1606.04797, whose squares in the denominator are
        left out here and in `keras.losses.Dice`.
    """

    _options = OverlapLoss._overlap_options
    _alpha = _beta = 0.5

    def __init__(
        self,
        smooth: float = 0.0,
        classes: Classes = "present",
        activation: Activation = "softmax",
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._keep_overlap(smooth, classes, activation)
        self._keep(from_logits, ignore_class, class_weights, axis)


@keras.saving.register_keras_serializable(package="keras_rmi")
class JaccardLoss(OverlapLoss):
    """Penalises areas by one minus their intersection over union.

    The soft version of what the metric `IoU` counts. Use it instead of, or
    added to, cross entropy when that metric decides; see also
    `LovaszSoftmaxLoss`, which is exact at certain predictions.

    The value of an image is the weighted mean over the classes of

        1 - (TP_c + s) / (TP_c + FP_c + FN_c + s)

    with the symbols of `TverskyLoss`, of which it is the case
    `alpha = beta = 1`. An absent class does what it does there.

    Args:
        smooth, classes, activation, from_logits, ignore_class, class_weights,
            axis: As in `TverskyLoss`.
        reduction, name, dtype: As in `keras.losses.Loss`. `dtype` is that of
            the result.

    Input shape:
        As in `TverskyLoss`.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> mask = np.array([[[0, 1, 1, 255]]])
    >>> logits = np.array([[[[-4.0], [4.0], [-4.0], [9.0]]]])
    >>> loss = keras_rmi.JaccardLoss(activation="sigmoid", from_logits=True,
    ...                              ignore_class=255)
    >>> round(float(loss(mask, logits)), 3)
    0.504

    References:
        Rahman, Wang, 2016, "Optimizing Intersection-Over-Union in Deep Neural
        Networks for Image Segmentation",
        https://doi.org/10.1007/978-3-319-50835-1_22
    """

    _options = OverlapLoss._overlap_options
    _alpha = _beta = 1.0

    def __init__(
        self,
        smooth: float = 0.0,
        classes: Classes = "present",
        activation: Activation = "softmax",
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "jaccard_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._keep_overlap(smooth, classes, activation)
        self._keep(from_logits, ignore_class, class_weights, axis)
