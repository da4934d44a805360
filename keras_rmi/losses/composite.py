"""Weighted sums of losses on one output, whose parts can be watched."""

from typing import Any

import keras
from keras import ops

from keras_rmi._validation import (
    check_config,
    check_number,
    compatible,
    message,
)
from keras_rmi.losses.adjustable import AdjustableLoss
from keras_rmi.losses.base import SegmentationLoss
from keras_rmi.ops.weights import not_zero, read_sample_weight, weighted


@keras.saving.register_keras_serializable(package="keras_rmi")
class CompositeLoss(AdjustableLoss):
    """Penalises what each of its parts penalises, by weight.

    Use it to train one output with several losses. A list does not do that:
    with `compile(loss=[a, b])` and one output, Keras trains with `a` alone.

    The value of an image `i` is

        value_i = sum_k weight_k part_k,i

    with `part_k,i` the value that part `k` gives image `i` without reduction.
    All parts see the same labels, predictions and weights; options such as
    `from_logits`, `ignore_class` and `axis` are those of each part. Weights
    of images, and the reduction, apply to the sum: `reduction` of a part is
    not used. A part of weight 0 is not computed, but can be watched.

    To see the parts during `fit`, give their metrics to `compile`:

        model.compile(loss=loss, weighted_metrics=loss.part_metrics())

    Each is the value of one part, without its weight, averaged over the epoch
    as Keras averages `loss`: `loss` is their weighted sum, plus what the
    model adds, such as weight decay. Names are those of the parts, after an
    optional `prefix`. In `metrics=` they would not see `sample_weight`.

    To change a weight during `fit`, use `keras_rmi.callbacks` with the name
    of the part followed by `_weight`.

    A loss of Keras may be a part if it gives values per image, (N,), or per
    position, such as (N,H,W), of which the mean is taken, weighted by the
    weights of pixels. It does not know void pixels: give these a weight of 0.
    Refused are its values per batch, its `ignore_class`, and weights of
    pixels for values per image.

    Args:
        parts: A dictionary from the name of each part to a pair (loss,
            weight), or to a loss of weight 1. Weights are numbers >= 0.
            `CompositeLoss` may be a part.
        reduction, name, dtype: As in `keras.losses.Loss`. `dtype` is that of
            the result.

    Input shape:
        What the parts accept.

    Output shape:
        A number, or (N,) with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> import keras_rmi
    >>> bce = keras_rmi.RMILoss(rmi_weight=0.0, from_logits=True)
    >>> rmi = keras_rmi.RMILoss(rmi_weight=1.0, from_logits=True)
    >>> loss = keras_rmi.CompositeLoss({"bce": bce, "rmi": (rmi, 0.5)})
    >>> maps = np.eye(16, dtype="uint8")[None], np.zeros((1, 16, 16, 2))
    >>> [round(float(part(*maps)), 3) for part in (bce, rmi, loss)]
    [1.386, 3.768, 3.27]
    """

    def __init__(
        self,
        parts: dict[str, Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "composite_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._losses, self._weights = _read_parts(parts)
        self.parts = dict(parts)

    def call(self, y_true, y_pred, sample_weight=None):
        weights = {name: self._weight(name) for name in self._weights}
        needed = {n: w for n, w in weights.items() if _may_count(w)}
        total = 0.0
        for name, weight in (needed or weights).items():
            loss = self._losses[name.removesuffix(_SUFFIX)]
            total += weight * _values(loss, y_true, y_pred, sample_weight)
        return total

    def part_metrics(self, prefix: str = ""):
        """Metrics for `compile(weighted_metrics=...)`, one for each part."""
        return [
            _PartValue(
                # The same code, so that the value is that of the sum.
                CompositeLoss({name: loss}, reduction=self.reduction),
                name=f"{prefix}{name}",
            )
            for name, loss in self._losses.items()
        ]

    def _initial_weights(self):
        return self._weights

    def get_config(self):
        weights = self._current_weights()
        parts = {
            name: [
                keras.saving.serialize_keras_object(loss),
                weights[name + _SUFFIX],
            ]
            for name, loss in self._losses.items()
        }
        return {"parts": parts, **super().get_config()}

    @classmethod
    def from_config(cls, config):
        config = check_config(cls, config)
        parts = config.get("parts")
        if isinstance(parts, dict):
            parts = {name: _restored(part) for name, part in parts.items()}
        return cls(**{**config, "parts": parts})


@keras.saving.register_keras_serializable("keras_rmi", name="PartValue")
class _PartValue(keras.metrics.Mean):
    """Mean over batches of a reduced loss, weighted by images, as in Keras."""

    def __init__(self, loss, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._loss = loss
        # Reduced here: Keras scales what it reduces by the replicas.
        self._unreduced = CompositeLoss(loss.parts, reduction=None)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.stop_gradient(ops.convert_to_tensor(y_pred))
        values = self._unreduced(y_true, y_pred, sample_weight)
        count = divisor = ops.cast(ops.shape(values)[0], "float32")
        if self._loss.reduction == "sum":
            divisor = ops.ones_like(count)
        elif self._loss.reduction == "mean_with_sample_weight":
            weight, _ = read_sample_weight(sample_weight, y_pred.shape[0])
            if weight is not None:
                divisor = ops.sum(weight)
        value = ops.divide_no_nan(ops.sum(values), divisor)
        super().update_state(value, sample_weight=count)

    def get_config(self):
        loss = keras.saving.serialize_keras_object(self._loss)
        return {**super().get_config(), "loss": loss}

    @classmethod
    def from_config(cls, config):
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**{**config, "loss": loss})


# Of the weight of a part: its own name is that of its value.
_SUFFIX = "_weight"


def _may_count(weight):
    """Whether a weight is not 0 for ever."""
    return not isinstance(weight, float) or weight != 0


def _read_parts(parts):
    """The losses and the weights of the parts, by name."""
    expected = "a dictionary {name: (loss, weight)} that is not empty"
    if not isinstance(parts, dict) or not parts:
        kind = ValueError if isinstance(parts, dict) else TypeError
        raise kind(message("parts", expected, parts))
    losses, weights = {}, {}
    for name, part in parts.items():
        if not isinstance(name, str) or name in ("", "loss"):
            fix = "Keras reports the whole as 'loss'."
            raise ValueError(message("parts", "names of parts", name, fix))
        argument = f"parts[{name!r}]"
        pair = part if isinstance(part, (tuple, list)) else (part, 1.0)
        if len(pair) != 2 or not isinstance(pair[0], keras.losses.Loss):
            expected = "a `keras.losses.Loss`, or a pair (loss, weight)"
            raise TypeError(message(argument, expected, part))
        losses[name], weight = pair
        weights[name + _SUFFIX] = check_number(argument, weight, 0.0)
        _check_void(argument, losses[name])
    return losses, weights


def _restored(part):
    """A part of a config; what is none is left for `_read_parts` to refuse."""
    pair = isinstance(part, (tuple, list)) and len(part) == 2
    if not pair or not isinstance(part[0], dict):
        return part
    return keras.saving.deserialize_keras_object(part[0]), part[1]


def _check_void(argument, loss):
    """Keras keeps the void of its losses apart from their values."""
    if isinstance(loss, SegmentationLoss):
        return
    ignored = getattr(loss, "ignore_class", None)
    if ignored is not None:
        raise ValueError(
            message(
                f"{argument}.ignore_class",
                "None for a loss that is not of keras_rmi",
                ignored,
                "Use the loss of keras_rmi, or weights of pixels.",
            )
        )


def _values(loss, y_true, y_pred, pixel_weight):
    """Value of every image (N,) for a loss of any kind."""
    if isinstance(loss, SegmentationLoss):
        return loss.call(y_true, y_pred, sample_weight=pixel_weight)
    y_true, y_pred = (
        ops.cast(ops.convert_to_tensor(x), "float32") for x in (y_true, y_pred)
    )
    values = ops.cast(loss.call(y_true, y_pred), "float32")
    shape = tuple(values.shape)
    if not shape or not compatible(shape[:1], y_pred.shape[:1]):
        raise ValueError(
            message(
                f"{loss.name} values",
                f"one per image, ({y_pred.shape[0]},), or per position",
                shape,
                "A mean over the batch has no value per image; for the "
                "overlap losses of Keras set `axis=(1, 2, 3)`.",
            )
        )
    if pixel_weight is None:
        axes = tuple(range(1, len(shape)))
        return ops.mean(values, axis=axes) if axes else values
    weight = pixel_weight
    if len(weight.shape) == 4 and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, axis=-1)
    if not compatible(tuple(weight.shape), shape):
        raise ValueError(
            message(
                "sample_weight.shape",
                f"weights of images, or of the values {shape} of {loss.name}",
                tuple(pixel_weight.shape),
            )
        )
    total = ops.sum(weight, axis=(1, 2))
    return ops.sum(weighted(values, weight), axis=(1, 2)) / not_zero(total)
