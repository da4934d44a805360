"""Region mutual information loss."""

from typing import Any

import keras

from keras_rmi._types import (
    Activation,
    Axis,
    ClassWeights,
    IgnoreClass,
    IntOrPair,
    Pooling,
)
from keras_rmi._validation import check_choice, check_number, check_pair
from keras_rmi.losses.base import SegmentationLoss
from keras_rmi.ops.objective import RegionTerm, pixel_and_region_loss
from keras_rmi.ops.pooled_maps import check_region_fits, read_pooling
from keras_rmi.ops.predictions import check_channels, read_predictions


def rmi_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    radius: IntOrPair = 3,
    pooling: Pooling = "avg",
    pool_size: IntOrPair = 3,
    rmi_weight: float = 0.5,
    activation: Activation = "sigmoid",
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    epsilon: float = 5e-4,
    axis: Axis = -1,
):
    """Region mutual information loss of every image, without reduction.

    The function behind `keras_rmi.RMILoss`, which says what the value means
    and what every option does.

    Args:
        y_true: Labels, as in `RMILoss`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        radius, pooling, pool_size, rmi_weight, activation, from_logits,
            ignore_class, class_weights, epsilon, axis: As in `RMILoss`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.zeros((2, 9, 9), "uint8")
    >>> labels[0, 2:6, 3:7] = 1
    >>> logits = np.zeros((2, 9, 9, 2), "float32")
    >>> values = keras_rmi.rmi_loss(labels, logits, from_logits=True,
    ...                             pooling=None, rmi_weight=0.0)
    >>> [round(float(value), 4) for value in values]
    [1.3863, 1.3863]
    """
    loss = RMILoss(
        radius=radius,
        pooling=pooling,
        pool_size=pool_size,
        rmi_weight=rmi_weight,
        activation=activation,
        from_logits=from_logits,
        ignore_class=ignore_class,
        class_weights=class_weights,
        epsilon=epsilon,
        axis=axis,
        reduction=None,
        dtype="float32",
    )
    return loss(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="keras_rmi")
class RMILoss(SegmentationLoss):
    """Penalises regions whose structure the prediction does not explain.

    A pixel-wise loss treats pixels as independent. This loss represents a
    pixel by its neighbourhood of `R x R` pixels, so that label map and
    prediction become two distributions of `d = R * R` dimensional vectors,
    and maximises a lower bound of their mutual information. Use it instead
    of cross entropy when thin structures and boundaries matter. It costs
    nothing at inference.

    The value of an image is

        (1 - rmi_weight) * pixel + rmi_weight * rmi

        pixel = sum_i v_i l_i / sum_i v_i
        rmi   = sum_c w_c (1/(2 d) log det(M_c + a I) - 1/2 ln a)
        M_c   = S_YY - S_YP (S_PP + a I)^-1 S_PY

    with `l_i` the cross entropy of pixel `i` (sigmoid: summed over classes),
    `v_i` its weight (0 where void), `c` a class, `w_c` its weight, `a` the
    `epsilon`, and `S` the sums over all regions of products of the centred
    region vectors of the down-sampled labels `Y` and probabilities `P` of
    the class (zero where void). `M_c` is what is left of the labels'
    covariance when the prediction is known (equations 10 to 14 of the paper).
    The subtracted constant makes `rmi` >= 0, up to rounding; the gradient is
    the published one.

    Everything is computed in float32, also for float16 and bfloat16
    predictions, and exact to float32 (see `keras_rmi.ops.statistics`).

    Args:
        radius: Side R of the region, an integer >= 1 or a pair
            (rows, columns). Defaults to `3`.
        pooling: How maps are down-sampled before the statistics: `"avg"`,
            `"max"`, `"interpolate"` or `None`. Of `H` pixels the third keeps
            `h = H // pool_size`: labels at `floor(i H / h)`, probabilities,
            bilinear, at `i (H - 1) / (h - 1)`. That is published, and at the
            end of an axis about `pool_size - 1` pixels apart, so it asks for
            predictions that are moved. Defaults to `"avg"`.
        pool_size: Factor of the down-sampling, an integer >= 1 or a pair
            (rows, columns). Defaults to `3`.
        rmi_weight: Share of the region term, in [0, 1]. At 0 and 1 the other
            term is not computed. Defaults to `0.5`.
        activation: `"sigmoid"` or `"softmax"`: what turns logits into
            probabilities, and which cross entropy is the pixel term.
            `"softmax"` needs two channels or more. Defaults to `"sigmoid"`.
        from_logits: Whether `y_pred` are logits; probabilities otherwise.
            Logits are more accurate. Defaults to `False`.
        ignore_class: `None`, a class id or a tuple of them. Pixels of these
            classes are void: they do not count in the pixel term, and labels
            and probabilities are zero there in the statistics. With dense
            labels, rows that are all zero, or that hold more than 0.5 of an
            ignored class, are void. Defaults to `None`.
        class_weights: `None` or C numbers >= 0 that multiply the share of
            each class in both terms. Defaults to `None`.
        epsilon: Regulariser `a` of the covariances, > 0. Defaults to `5e-4`.
        axis: Axis of the channels, -1 or 1. Defaults to `-1`.
        reduction, name, dtype: As in `keras.losses.Loss`. `dtype` is that of
            the result.

    Input shape:
        `y_pred`: (N,H,W,C), or (N,C,H,W) with `axis=1`. C must be known.
        `y_true`: class ids (N,H,W) or (N,H,W,1) of any dtype, or dense
        (N,H,W,C): one-hot, soft or multi-label. With C = 1 a mask of values
        in [0, 1], (N,H,W) or (N,H,W,1). Ids outside of 0..C-1 are void.
        `sample_weight`: of images, (N,) or (N,1), or of pixels, (N,H,W) or
        (N,H,W,1). The pixel term is a weighted mean; pixels of weight 0 are
        void, other weights do not touch the statistics.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.zeros((1, 16, 16), "uint8")
    >>> labels[:, 4:12, 4:12] = 1
    >>> truth = np.eye(2, dtype="float32")[labels]
    >>> loss = keras_rmi.RMILoss(from_logits=True)
    >>> [round(float(loss(labels, scale * (2 * truth - 1))), 3)
    ...  for scale in (-8.0, 0.0, 8.0)]
    [9.195, 3.204, 0.308]

    References:
        Zhao, Wang, Yang, Cai, 2019, "Region Mutual Information Loss for
        Semantic Segmentation", https://arxiv.org/abs/1910.12037
    """

    _options = (
        "radius",
        "pooling",
        "pool_size",
        "rmi_weight",
        "activation",
        "epsilon",
        *SegmentationLoss._common,
    )

    def __init__(
        self,
        radius: IntOrPair = 3,
        pooling: Pooling = "avg",
        pool_size: IntOrPair = 3,
        rmi_weight: float = 0.5,
        activation: Activation = "sigmoid",
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        epsilon: float = 5e-4,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "rmi_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._keep(from_logits, ignore_class, class_weights, axis)
        self._region = check_pair("radius", radius)
        self._for_labels, self._for_predictions = read_pooling(
            pooling, pool_size
        )
        self._pixel_share = 1.0 - check_number(
            "rmi_weight", rmi_weight, 0.0, maximum=1.0
        )
        check_choice("activation", activation, ("sigmoid", "softmax"))
        check_number("epsilon", epsilon, 0.0, open_minimum=True)
        self.radius = radius
        self.pooling = pooling
        self.pool_size = pool_size
        self.rmi_weight = rmi_weight
        self.activation = activation
        self.epsilon = epsilon

    def call(self, y_true, y_pred, sample_weight=None):
        x, labels, class_weights = self._read(y_true, y_pred, sample_weight)
        check_channels(self.activation, x.shape[-1])
        region = None
        if self.rmi_weight > 0:
            check_region_fits(
                self._region,
                self._for_predictions,
                tuple(x.shape[1:3]),
                self.radius,
            )
            region = RegionTerm(
                float(self.rmi_weight),
                self._region,
                float(self.epsilon),
                self._for_labels,
                self._for_predictions,
            )
        return pixel_and_region_loss(
            x,
            labels,
            read_predictions(self.activation, self.from_logits, class_weights),
            self._pixel_share,
            region,
            class_weights,
        )
