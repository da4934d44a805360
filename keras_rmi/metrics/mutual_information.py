"""Region mutual information of a data set."""

from typing import Any

import keras
from keras import ops

from keras_rmi import _backend, _backend_modes
from keras_rmi._types import (
    Activation,
    Axis,
    ClassWeights,
    IgnoreClass,
    IntOrPair,
    Pooling,
)
from keras_rmi._validation import (
    check_choice,
    check_class_weights,
    check_flag,
    check_ignore_class,
    check_integer,
    check_number,
    check_pair,
    message,
)
from keras_rmi.ops.inputs import (
    certainty,
    one_or_nan,
    read_axis,
    read_map,
    read_tensor,
)
from keras_rmi.ops.labels import read_labels
from keras_rmi.ops.mutual_information import region_mutual_information
from keras_rmi.ops.pooled_maps import check_region_fits, read_pooling
from keras_rmi.ops.predictions import check_channels, read_predictions
from keras_rmi.ops.weights import not_zero, read_sample_weight, weighted


@keras.saving.register_keras_serializable(package="keras_rmi")
class RegionMutualInformation(keras.metrics.Metric):
    """Reports how much of the labels' structure the prediction explains.

    Use it beside the mean IoU to see whether thin structures and boundaries
    get better, whatever loss the network is trained with. The larger the
    better. It is the mean, over the images of a data set, of the lower bound
    that `keras_rmi.RMILoss` maximises, in nats:

        result  = sum_c w_c m_c / sum_c w_c    over the classes that occurred
        m_c     = sum_i v_ic b_ic / sum_i v_ic
        b_ic    = -1/2 log det(M_ic + a I)
        M       = S_YY - S_YP (S_PP + a I)^-1 S_PY

    with `i` an image, `c` a class, `w_c` its weight, `v_ic` the weight of the
    image (1 without weights) or 0 if the class is absent from it, `a` the
    `epsilon`, and `S` the sums over all regions of products of the centred
    region vectors of the down-sampled labels `Y` and probabilities `P`. See
    `keras_rmi.ops.region_mutual_information` for the bound. A perfect
    prediction has about `-d/2 ln(2 a)`, where a region has `d` pixels: 31.1
    for the defaults.

    As with any mutual information, only values for the same data compare, and
    an inverted map explains the labels as well as a right one.

    A class is absent from an image when its down-sampled label map is zero
    everywhere. Nothing is left to explain there, so the bound would be
    `-d/2 ln a` for any prediction, and rare classes would look perfect.

    `result()` is a number. `result_per_class()` gives `m_c` as a tensor (C,),
    NaN for a class that has not occurred. Where no class has occurred, the
    result is 0, as with `keras.metrics.Mean`.

    Args:
        num_classes: Number of channels of `y_pred`, an integer >= 1.
        radius: Side R of the region, an integer >= 1 or a pair
            (rows, columns). Defaults to `3`.
        pooling: How maps are down-sampled before the statistics: `"avg"`,
            `"max"`, `"interpolate"` or `None`, as in `keras_rmi.RMILoss`.
            Defaults to `"avg"`.
        pool_size: Factor of the down-sampling, an integer >= 1 or a pair
            (rows, columns). Defaults to `3`.
        activation: `"sigmoid"` or `"softmax"`: what turns logits into
            probabilities. `"softmax"` needs two channels or more. Defaults
            to `"sigmoid"`.
        from_logits: Whether `y_pred` are logits; probabilities otherwise.
            Defaults to `False`.
        ignore_class: `None`, a class id or a tuple of them. Both maps are
            zero at pixels of these classes, as in `keras_rmi.RMILoss`.
            Defaults to `None`.
        class_weights: `None` or C numbers >= 0, the weights of the classes
            in the result. Defaults to `None`.
        epsilon: Regulariser `a` of the covariances, > 0. Values of different
            `epsilon` do not compare. Defaults to `5e-4`.
        axis: Axis of the channels, -1 or 1. Defaults to `-1`.
        name, dtype: As in `keras.metrics.Metric`. Sums are float32 always.

    Input shape:
        As in `keras_rmi.RMILoss`. `sample_weight` weighs images, (N,) or
        (N,1), or tells void pixels, (N,H,W) or (N,H,W,1): a pixel of weight 0
        is void, and other weights of pixels are alike. Keras passes weights
        on to what is listed in `compile(weighted_metrics=...)`.

    Output shape:
        A number.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> labels = np.zeros((1, 16, 16), "uint8")
    >>> labels[:, 4:12, 4:12] = 1
    >>> truth = np.eye(2, dtype="float32")[labels]
    >>> metric = keras_rmi.metrics.RegionMutualInformation(2, from_logits=True)
    >>> metric.update_state(labels, 8 * (2 * truth - 1))
    >>> [round(float(x), 2) for x in metric.result_per_class()]
    [31.44, 31.43]

    References:
        Zhao, Wang, Yang, Cai, 2019, "Region Mutual Information Loss for
        Semantic Segmentation", https://arxiv.org/abs/1910.12037
    """

    def __init__(
        self,
        num_classes: int,
        radius: IntOrPair = 3,
        pooling: Pooling = "avg",
        pool_size: IntOrPair = 3,
        activation: Activation = "sigmoid",
        from_logits: bool = False,
        ignore_class: IgnoreClass = None,
        class_weights: ClassWeights = None,
        epsilon: float = 5e-4,
        axis: Axis = -1,
        name: str | None = "region_mutual_information",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        count = check_integer("num_classes", num_classes, minimum=1)
        self._region = check_pair("radius", radius)
        self._for_labels, self._for_predictions = read_pooling(
            pooling, pool_size
        )
        check_choice("activation", activation, ("sigmoid", "softmax"))
        check_channels(activation, count)
        check_flag("from_logits", from_logits)
        self._ignored = check_ignore_class(ignore_class)
        check_number("epsilon", epsilon, 0.0, open_minimum=True)
        read_axis(axis)
        self.num_classes = num_classes
        self.radius = radius
        self.pooling = pooling
        self.pool_size = pool_size
        self.activation = activation
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.class_weights = check_class_weights(class_weights)
        if class_weights is not None and len(class_weights) != count:
            raise ValueError(
                message(
                    "class_weights",
                    f"{count} numbers, one per class",
                    class_weights,
                )
            )
        self.epsilon = epsilon
        self.axis = axis
        self.total, self.weight = (
            self.add_variable((count,), "zeros", dtype="float32", name=name)
            for name in ("total", "weight")
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.stop_gradient(read_tensor("y_pred", y_pred))
        image_weight, pixel_weight = read_sample_weight(
            sample_weight, y_pred.shape[0] if y_pred.shape else None
        )
        bound, weight = _backend_modes.by_images(
            self._bounds, y_pred, y_true, pixel_weight
        )
        if image_weight is not None:
            weight = weight * ops.reshape(image_weight, (-1, 1))
        self.total.assign_add(ops.sum(weighted(bound, weight), axis=0))
        self.weight.assign_add(ops.sum(weight, axis=0))

    def _bounds(self, y_pred, y_true, pixel_weight):
        """Bound of each image and class, and 1 where it occurs, (N,C)."""
        labels, probabilities = self._maps(y_true, y_pred, pixel_weight)
        bound = region_mutual_information(
            labels, probabilities, self._region, float(self.epsilon)
        )
        # One axis at a time: Keras 3.10 takes no more on every backend.
        occurs = ops.any(ops.any(labels != 0, axis=2), axis=1)
        return bound * certainty(y_pred)[:, None], ops.cast(occurs, "float32")

    def _maps(self, y_true, y_pred, pixel_weight):
        """Down-sampled labels and probabilities, (N,h,w,C)."""
        axis = read_axis(self.axis)
        x, shape = read_map("y_pred", y_pred, axis)
        if shape[-1] != self.num_classes:
            raise ValueError(
                message(
                    "y_pred.shape",
                    f"{self.num_classes} channels, `num_classes`, at axis "
                    f"{self.axis}",
                    tuple(y_pred.shape),
                )
            )
        check_region_fits(
            self._region, self._for_predictions, shape[1:3], self.radius
        )
        labels = read_labels(y_true, shape, axis, self._ignored, pixel_weight)
        reading = read_predictions(self.activation, self.from_logits, None)
        probabilities = reading.probabilities(ops.cast(x, "float32"))
        probabilities = probabilities * labels.valid[..., None]
        return (
            labels.downsampled(self._for_labels),
            self._for_predictions(probabilities),
        )

    def result(self):
        means, occurred = self._means()
        share = ops.cast(occurred, "float32")
        if self.class_weights is not None:
            weights = _backend.constant(list(self.class_weights), share)
            share = share * weights
        result = ops.sum(share * means) / not_zero(ops.sum(share))
        return ops.cast(result, self.dtype)

    def result_per_class(self):
        means, occurred = self._means()
        return means * one_or_nan(occurred)

    def _means(self):
        """Mean bound of each class (C,), and whether it has occurred."""
        total, weight = map(ops.convert_to_tensor, (self.total, self.weight))
        # A weight of NaN has occurred.
        occurred = weight != 0
        return total / not_zero(weight), occurred

    def get_config(self):
        options = (
            *("num_classes", "radius", "pooling", "pool_size", "activation"),
            *("from_logits", "ignore_class", "class_weights", "epsilon"),
            "axis",
        )
        config = {name: getattr(self, name) for name in options}
        return {**super().get_config(), **config}
