"""Affinity field loss."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_rmi import _backend
from keras_rmi._types import Activation, Axis, ClassWeights, IgnoreClass
from keras_rmi._validation import (
    check_choice,
    check_config,
    check_integer,
    check_number,
    message,
)
from keras_rmi.losses.adjustable import AdjustableLoss
from keras_rmi.ops.affinity import affinity_terms, coin_logits
from keras_rmi.ops.objective import pixel_and_region_loss
from keras_rmi.ops.predictions import check_channels, read_predictions


def affinity_field_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    sizes: int | Sequence[int] = (1,),
    margin: float = 3.0,
    affinity_weight: float = 1.0,
    edge_weight: float = 1.0,
    non_edge_weight: float = 1.0,
    activation: Activation = "softmax",
    from_logits: bool = False,
    ignore_class: IgnoreClass = None,
    class_weights: ClassWeights = None,
    axis: Axis = -1,
):
    """Affinity field loss of every image, without reduction.

    The function behind `keras_rmi.AffinityFieldLoss`, which says what the
    value means and what every option does.

    Args:
        y_true: Labels, as in `AffinityFieldLoss`.
        y_pred: Predictions (N,H,W,C), or (N,C,H,W) with `axis=1`.
        sample_weight: `None`, weights of images (N,) or (N,1), which multiply
            the values, or of pixels (N,H,W) or (N,H,W,1). Defaults to `None`.
        sizes, margin, affinity_weight, edge_weight, non_edge_weight,
            activation, from_logits, ignore_class, class_weights, axis: As in
            `AffinityFieldLoss`.

    Returns:
        One value per image, (N,), float32.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.zeros((2, 6, 6), "uint8")
    >>> labels[0, 2:5, 2:5] = 1
    >>> logits = np.zeros((2, 6, 6, 2), "float32")
    >>> values = keras_rmi.affinity_field_loss(labels, logits,
    ...                                        from_logits=True)
    >>> [round(float(value), 4) for value in values]
    [3.6931, 0.6931]
    """
    loss = AffinityFieldLoss(
        sizes=sizes,
        margin=margin,
        affinity_weight=affinity_weight,
        edge_weight=edge_weight,
        non_edge_weight=non_edge_weight,
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
class AffinityFieldLoss(AdjustableLoss):
    """Penalises neighbours that are alike across an edge, or differ inside.

    Cross entropy asks what each pixel is; this loss also asks whether two
    pixels belong together. Use it for thin parts and for boundaries between
    classes that look alike. It costs nothing at inference.

    The value of an image is

        pixel + affinity_weight mean_s sum_c w_c (
            edge_weight     1/E_s sum_edges  max(0, margin - D_ji)
            + non_edge_weight 1/R_s sum_others D_ji)

        D_ji = p_j ln(p_j / p_i) + (1 - p_j) ln((1 - p_j) / (1 - p_i))

    with `pixel` the mean cross entropy of the valid pixels, `s` one of the
    `sizes`, `c` a class, `w_c` its weight, and `p_i` the probability of the
    class at pixel `i`. The sums are over the valid pixels `i` and their 8
    valid neighbours `j` at the distance of `s` rows, columns or both. A pair
    is an edge of a class if one of the two pixels is of it; `E_s` and `R_s`
    are the numbers of edges and of other pairs, over all classes. A mean over
    no pairs is 0. The gradient goes to both pixels.

    Everything is computed in float32, from logarithms of the probabilities.

    Args:
        sizes: Distances of neighbours, an integer >= 1 or several, smaller
            than the map. Defaults to `(1,)`.
        margin: Divergence that is enough at an edge, >= 0. Defaults to `3.0`.
        affinity_weight: Weight of the affinity term, >= 0. At 0 it is not
            computed. `keras_rmi.callbacks.LossWeightSchedule` can change it
            during training. Defaults to `1.0`.
        edge_weight, non_edge_weight: Weights of the two kinds of pairs, >= 0.
            Default to `1.0`.
        activation: `"softmax"` or `"sigmoid"`: what turns logits into
            probabilities, and which cross entropy is the pixel term.
            `"softmax"` needs two channels or more. Defaults to `"softmax"`.
        adaptive: `None`, or a `keras_rmi.layers.AffinityFieldWeights` of the
            model. Its trained weights, per class and kind, replace the mean
            over the sizes. Defaults to `None`.
        from_logits: Whether `y_pred` are logits; probabilities otherwise.
            Logits are more accurate. Defaults to `False`.
        ignore_class: `None`, a class id or a tuple of them. Pixels of these
            classes are void, and so are their pairs. With dense labels, rows
            that are all zero, or that hold more than 0.5 of an ignored class,
            are void. Defaults to `None`.
        class_weights: `None` or C numbers >= 0 that multiply the share of
            each class in both terms. Defaults to `None`.
        axis: Axis of the channels, -1 or 1. Defaults to `-1`.
        reduction, name, dtype: As in `keras.losses.Loss`. `dtype` is that of
            the result.

    Input shape:
        As in `RMILoss`. For the pairs a pixel is of a class whose dense label
        is above 0.5; a pixel of weight 0 is void, other weights of pixels do
        not touch the affinity term.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.zeros((1, 8, 8), "uint8")
    >>> labels[:, 2:6, 2:6] = 1
    >>> truth = np.eye(2, dtype="float32")[labels]
    >>> loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    >>> [round(float(loss(labels, x * truth)), 4) for x in (0.0, 2.0, 8.0)]
    [3.6931, 1.6037, 0.0003]

    Differences from the paper:

    1. Means are over the pairs of an image, not of the batch.
    2. Several sizes are averaged; `adaptive` learns their weights.

    The code of the authors of RMI (ZJULearning/RMI) differs from the paper in
    three more points, which are not followed: it counts pairs with void
    pixels and with pixels outside of the map, as edges where the other is of
    a class; it does so on maps of an eighth of the size; and it clips
    probabilities to at least 1e-4.

    References:
        Ke, Hwang, Liu, Yu, 2018, "Adaptive Affinity Fields for Semantic
        Segmentation", https://arxiv.org/abs/1803.10335
    """

    _options = (
        "sizes",
        "margin",
        "affinity_weight",
        "edge_weight",
        "non_edge_weight",
        "activation",
        *AdjustableLoss._common,
    )

    def __init__(
        self,
        sizes: int | Sequence[int] = (1,),
        margin: float = 3.0,
        affinity_weight: float = 1.0,
        edge_weight: float = 1.0,
        non_edge_weight: float = 1.0,
        activation: Activation = "softmax",
        adaptive: Any = None,
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        axis: Axis = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "affinity_field_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._sizes = _check_sizes(sizes)
        check_number("margin", margin, 0.0)
        check_number("affinity_weight", affinity_weight, 0.0)
        check_number("edge_weight", edge_weight, 0.0)
        check_number("non_edge_weight", non_edge_weight, 0.0)
        check_choice("activation", activation, ("softmax", "sigmoid"))
        if adaptive is not None and not hasattr(adaptive, "shares"):
            raise TypeError(
                message("adaptive", "None or AffinityFieldWeights", adaptive)
            )
        self._keep(from_logits, ignore_class, class_weights, axis)
        self.sizes = sizes
        self.margin = margin
        self.affinity_weight = affinity_weight
        self.edge_weight = edge_weight
        self.non_edge_weight = non_edge_weight
        self.activation = activation
        # Not the layer: its weights would be saved as those of the loss.
        self._shares = None if adaptive is None else adaptive.shares

    def call(self, y_true, y_pred, sample_weight=None):
        x, labels, class_weights = self._read(y_true, y_pred, sample_weight)
        check_channels(self.activation, x.shape[-1])
        weight = self._weight("affinity_weight")
        affinity = not isinstance(weight, (int, float)) or weight != 0
        if affinity:
            self._check_fit(tuple(x.shape[1:3]))
        value = pixel_and_region_loss(
            x,
            labels,
            read_predictions(self.activation, self.from_logits, class_weights),
            1.0,
        )
        if not affinity:
            return value
        return value + weight * self._affinity(x, labels, class_weights)

    def _layer(self):
        return None if self._shares is None else self._shares.__self__

    def _arguments(self, names):
        return {**super()._arguments(names), "adaptive": self._layer()}

    def get_config(self):
        config = {**super().get_config(), **self._current_weights()}
        layer = self._layer()
        if layer is not None:
            # A new one, without weights: it is no copy of the trained layer.
            layer = type(layer).from_config(layer.get_config())
            layer = keras.saving.serialize_keras_object(layer)
        return {**config, "adaptive": layer}

    @classmethod
    def from_config(cls, config):
        config = check_config(cls, config)
        layer = config.get("adaptive")
        if isinstance(layer, dict):
            layer = keras.saving.deserialize_keras_object(layer)
        return cls(**{**config, "adaptive": layer})

    def _initial_weights(self):
        return {"affinity_weight": self.affinity_weight}

    def _affinity(self, x, labels, class_weights):
        """The affinity term of each image, (N,)."""
        x = ops.cast(x, "float32")
        valid = labels.valid > 0
        z = coin_logits(x, self.activation, self.from_logits)
        z = _backend.where(valid[..., None], z, 0.0)
        terms = affinity_terms(
            z, labels.dense() > 0.5, valid, self._sizes, float(self.margin)
        )
        kinds = [float(self.edge_weight), float(self.non_edge_weight)]
        weights = _backend.constant(kinds, x)[:, None]
        if class_weights is not None:
            weights = weights * class_weights
        if self._shares is None:
            weights = weights / len(self._sizes)
        else:
            shares = self._shares(len(self._sizes), x.shape[-1])
            # Descent with the opposite slope: the shares seek the maximum.
            weights = weights * (2.0 * ops.stop_gradient(shares) - shares)
        return ops.sum(weights * terms, axis=(1, 2, 3))

    def _check_fit(self, size):
        known = [length for length in size if length is not None]
        if known and max(self._sizes) >= min(known):
            raise ValueError(
                message(
                    "sizes",
                    f"distances below the sides of the map, {size}",
                    self.sizes,
                )
            )


def _check_sizes(sizes):
    expected = "an integer >= 1 or a sequence of them, each once"
    several = sizes if isinstance(sizes, (tuple, list)) else (sizes,)
    try:
        several = [check_integer("sizes", size, minimum=1) for size in several]
    except (TypeError, ValueError) as error:
        raise type(error)(message("sizes", expected, sizes)) from None
    if not several or len(set(several)) < len(several):
        raise ValueError(message("sizes", expected, sizes))
    return several
