"""Lovász losses: intersection over union, extended to probabilities."""

from typing import Any

import keras
from keras import ops

from keras_rmi._types import Axis, Classes, ClassWeights, IgnoreClass
from keras_rmi._validation import check_choice, message
from keras_rmi.losses.base import SegmentationLoss
from keras_rmi.ops.lovasz import lovasz_extension
from keras_rmi.ops.overlap import mean_over_classes
from keras_rmi.ops.predictions import (
    as_logits,
    as_probabilities,
    check_channels,
)


def lovasz_softmax_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    classes: Classes = "present",
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Lovász-softmax loss of every image, without reduction.

    The function behind `keras_rmi.LovaszSoftmaxLoss`, which says what the value
    means and what every option does.

    Args:
        y_true: Labels, as in `LovaszSoftmaxLoss`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        classes, from_logits, ignore_class, class_weights, axis: As in
            `LovaszSoftmaxLoss`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.array([[[0, 1]], [[1, 0]]])
    >>> predictions = np.array([[[[0.9, 0.1], [0.4, 0.6]]]] * 2)
    >>> values = keras_rmi.lovasz_softmax_loss(labels, predictions)
    >>> [round(float(value), 4) for value in values]
    [0.325, 0.825]
    """
    loss = LovaszSoftmaxLoss(
        classes=classes,
        from_logits=from_logits,
        ignore_class=ignore_class,
        class_weights=class_weights,
        axis=axis,
        reduction=None,
        dtype="float32",
    )
    return loss(y_true, y_pred, sample_weight)


def lovasz_hinge_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Lovász hinge loss of every image, without reduction.

    The function behind `keras_rmi.LovaszHingeLoss`, which says what the value
    means and what every option does.

    Args:
        y_true: Labels, as in `LovaszHingeLoss`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        from_logits, ignore_class, class_weights, axis: As in
            `LovaszHingeLoss`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.array([[[0, 1]], [[1, 0]]])
    >>> predictions = np.array([[[[2.0], [0.5]]]] * 2)
    >>> values = keras_rmi.lovasz_hinge_loss(labels, predictions,
    ...                                      from_logits=True)
    >>> [round(float(value), 4) for value in values]
    [1.75, 0.75]
    """
    loss = LovaszHingeLoss(
        from_logits=from_logits,
        ignore_class=ignore_class,
        class_weights=class_weights,
        axis=axis,
        reduction=None,
        dtype="float32",
    )
    return loss(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="keras_rmi")
class LovaszSoftmaxLoss(SegmentationLoss):
    """Penalises what costs intersection over union, class by class.

    The Jaccard loss is a function of the set of wrong pixels; this is its
    tightest convex extension to errors between 0 and 1. At certain
    predictions it equals `1 - IoU`. Use it, often to finish a training with
    cross entropy, when IoU decides and classes are small.

    The value of an image is the weighted mean over the classes of

        sum_k e_k (J_k - J_(k-1)),   e_i = |y_i - p_i|
        J_k = 1 - (G - F_k) / (G + B_k)

    with `y` the labels and `p` the probabilities of the class, pixels in the
    order of falling errors `e`, `G` the area of the class, and `F_k` and
    `B_k` the areas inside and outside of it among the first `k` pixels. An
    area is a sum of the weights of pixels, and void pixels have none.

    A class that no pixel of the image has is left out of the mean. With
    `classes="all"` its value is its largest error. A void image has the value
    0. Computed in float32. Errors, their order and areas are maps of the size
    of the predictions: up to ten of them exist at a time.

    Args:
        classes: `"present"`, the classes that the labels of the image have,
            or `"all"`. Defaults to `"present"`.
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
        As in `RMILoss`, with two channels or more. Pixels of weight 0 are
        void, other weights are those of the areas.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.array([[[0, 1, 1, 255]]])
    >>> logits = np.array([[[[9.0, 0], [0, 9.0], [9.0, 0], [9.0, 0]]]])
    >>> loss = keras_rmi.LovaszSoftmaxLoss(from_logits=True, ignore_class=255)
    >>> round(float(loss(labels, logits)), 3)
    0.5

    Differences from the paper:
        1. The paper also takes a whole batch as one image; here it is always
           image by image.
        2. Weights of pixels and of classes are new.

    References:
        Berman, Triki, Blaschko, 2018, "The Lovász-Softmax loss: A tractable
        surrogate for the optimization of the intersection-over-union measure
        in neural networks", https://arxiv.org/abs/1705.08790
    """

    _options = ("classes", *SegmentationLoss._common)

    def __init__(
        self,
        classes: Classes = "present",
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "lovasz_softmax_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        check_choice("classes", classes, ("present", "all"))
        self._keep(from_logits, ignore_class, class_weights, axis)
        self.classes = classes

    def call(self, y_true, y_pred, sample_weight=None):
        x, labels, class_weights = self._read(y_true, y_pred, sample_weight)
        check_channels("softmax", x.shape[-1], "Use `LovaszHingeLoss`.")
        p = as_probabilities("softmax", self.from_logits, x)
        errors = ops.abs(labels.dense() - p) * labels.valid[..., None]
        values, labelled = lovasz_extension(errors, labels)
        return mean_over_classes(
            values, labelled, labels, self.classes, class_weights
        )


@keras.saving.register_keras_serializable(package="keras_rmi")
class LovaszHingeLoss(SegmentationLoss):
    """Penalises what costs intersection over union of a mask.

    The Lovász extension of the Jaccard loss at hinge errors of logits. Use it
    for one channel, where `LovaszSoftmaxLoss` needs two.

    The value of an image is

        sum_k e_k (J_k - J_(k-1)),   e_i = max(0, 1 - x_i (2 y_i - 1))
        J_k = 1 - (G - F_k) / (G + B_k)

    with `y` the mask and `x` the logits, pixels in the order of falling
    errors `e`, `G` the area of the mask, and `F_k` and `B_k` the areas inside
    and outside of it among the first `k` pixels. An area is a sum of the
    weights of pixels, and void pixels have none.

    The value of an image with an empty mask is its largest error: its false
    positives are corrected one at a time. A void image has the value 0.
    Computed in float32. Errors, their order and areas are maps of the size of
    the predictions: up to ten of them exist at a time.

    Args:
        from_logits: Whether `y_pred` are logits. Probabilities are turned
            back into logits, clipped as Keras does. Defaults to `False`.
        ignore_class: `None`, a class id or a tuple of them. Pixels of these
            classes are void. Defaults to `None`.
        class_weights: `None` or one number >= 0, which makes no difference
            unless it is 0. Defaults to `None`.
        axis: Axis of the channels, -1 or 1. Defaults to `-1`.
        reduction, name, dtype: As in `keras.losses.Loss`. `dtype` is that of
            the result.

    Input shape:
        As in `RMILoss`, with one channel. Pixels of weight 0 are void, other
        weights are those of the areas.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> mask = np.array([[[0, 1, 1, 255]]])
    >>> logits = np.array([[[[-4.0], [4.0], [-0.5], [9.0]]]])
    >>> loss = keras_rmi.LovaszHingeLoss(from_logits=True, ignore_class=255)
    >>> round(float(loss(mask, logits)), 3)
    0.75

    References:
        Berman, Triki, Blaschko, 2018, "The Lovász-Softmax loss: A tractable
        surrogate for the optimization of the intersection-over-union measure
        in neural networks", https://arxiv.org/abs/1705.08790

        Yu, Blaschko, 2015, "Learning Submodular Losses with the Lovász Hinge",
        https://proceedings.mlr.press/v37/yub15.html
    """

    _options = SegmentationLoss._common

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "lovasz_hinge_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._keep(from_logits, ignore_class, class_weights, axis)

    def call(self, y_true, y_pred, sample_weight=None):
        x, labels, class_weights = self._read(y_true, y_pred, sample_weight)
        if x.shape[-1] > 1:
            raise ValueError(
                message(
                    "y_pred.shape",
                    f"one channel at axis {self.axis}",
                    tuple(y_pred.shape),
                    "Use `LovaszSoftmaxLoss`.",
                )
            )
        logits = as_logits("sigmoid", self.from_logits, x)
        errors = 1.0 - logits * (2.0 * labels.dense() - 1.0)
        # Not `relu`, whose gradient at NaN is zero on some backends.
        wrong = ops.cast(errors > 0.0, "float32") * labels.valid[..., None]
        values, labelled = lovasz_extension(errors * wrong, labels)
        return mean_over_classes(values, labelled, labels, "all", class_weights)
