"""Reads labels in all their forms, and which pixels are void.

The only place that knows about ignored classes. A pixel is void where its
class is ignored, where its class id is outside of 0..C-1, where dense labels
are all zero while `ignore_class` is set, and where its weight is zero.
"""

import keras
from keras import ops

from keras_rmi import _backend
from keras_rmi._validation import compatible, message, static_shape
from keras_rmi.ops.inputs import read_tensor
from keras_rmi.ops.label_forms import DenseLabels, SparseLabels

# Cast before comparison: some cannot hold C, and `bool` has no order.
_SMALL_DTYPES = ("bool", "int8", "uint8", "int16", "uint16")


def read_labels(y_true, shape, axis, ignored, pixel_weight=None):
    """Labels for predictions of static `shape`, (N,H,W,C) in this order.

    `axis` tells where the channels of `y_true` are (1 or -1), `ignored` is a
    tuple of class ids, `pixel_weight` (N,H,W) or (N,H,W,1) or None.
    """
    num_classes = shape[-1]
    if pixel_weight is not None:
        pixel_weight = _standardise_weight(pixel_weight, shape, axis)
    form, y_true = _standardise(y_true, shape, axis)
    if form == "dense":
        labels = ops.stop_gradient(ops.cast(y_true, "float32"))
        valid = _valid_rows(labels, ignored)
        return _dense(labels, valid, pixel_weight)
    if keras.backend.standardize_dtype(y_true.dtype) in _SMALL_DTYPES:
        y_true = ops.cast(y_true, "int32")
    if num_classes == 1:
        valid = ops.logical_and(y_true >= 0, y_true <= 1)
        for ignored_id in set(ignored) & {0, 1}:
            valid = ops.logical_and(valid, y_true != ignored_id)
        labels = ops.stop_gradient(ops.cast(y_true, "float32"))
        return _dense(labels[..., None], valid, pixel_weight)
    # Compared in their own dtype: a cast may wrap an id into the range.
    valid = ops.logical_and(y_true >= 0, y_true < num_classes)
    for ignored_id in ignored:
        if 0 <= ignored_id < num_classes:
            valid = ops.logical_and(valid, y_true != ignored_id)
    if pixel_weight is not None:
        # Not `> 0`: NaN must stay to be seen.
        valid = ops.logical_and(valid, pixel_weight != 0)
        pixel_weight = _backend.where(valid, pixel_weight, 0.0)
    safe = ops.where(valid, y_true, ops.zeros_like(y_true))
    ids = _backend.where(valid, ops.cast(safe, "int32"), -1, "int32")
    return SparseLabels(ids, num_classes, pixel_weight)


def _dense(labels, valid, pixel_weight):
    if pixel_weight is not None:
        valid = ops.logical_and(valid, pixel_weight != 0)
        pixel_weight = _backend.where(valid, pixel_weight, 0.0)
    labels = _backend.where(valid[..., None], labels, 0.0)
    return DenseLabels(labels, ops.cast(valid, "float32"), pixel_weight)


def _valid_rows(labels, ignored):
    """Dense labels: void rows are all zero or mostly of an ignored class."""
    if not ignored:
        return ops.ones_like(labels[..., 0], dtype="bool")
    valid = ops.any(labels != 0, axis=-1)
    for ignored_id in ignored:
        if 0 <= ignored_id < labels.shape[-1]:
            valid = ops.logical_and(valid, labels[..., ignored_id] <= 0.5)
    return valid


def _standardise(y_true, shape, axis):
    """("dense", (N,H,W,C)) or ("sparse", (N,H,W)), from what came."""
    y_true = read_tensor("y_true", y_true)
    received = static_shape("y_true", y_true)
    batch, height, width, num_classes = shape
    if num_classes > 1:
        dense = shape if axis == -1 else (batch, num_classes, height, width)
        if compatible(received, dense):
            dense = y_true if axis == -1 else ops.moveaxis(y_true, 1, -1)
            return "dense", dense
    squeezed = _squeeze_channel(y_true, shape, axis)
    if squeezed is None:
        expected = (
            f"class ids of shape {(batch, height, width)} or "
            f"{(batch, height, width, 1)}, or dense labels with "
            f"{num_classes} channels at axis {axis}"
            if num_classes > 1
            else "a {0, 1} mask of shape "
            f"{(batch, height, width)} or {(batch, height, width, 1)}"
        )
        raise ValueError(
            message(
                "y_true.shape",
                f"{expected}, for `y_pred` with {num_classes} channel(s)",
                received,
            )
        )
    return "sparse", squeezed


def _standardise_weight(pixel_weight, shape, axis):
    """Weights (N,H,W), whose shape must be that of the predictions."""
    squeezed = _squeeze_channel(pixel_weight, shape, axis)
    if squeezed is None:
        raise ValueError(
            message(
                "sample_weight.shape",
                f"one weight per pixel, {shape[:3]} or {(*shape[:3], 1)}",
                tuple(pixel_weight.shape),
            )
        )
    return squeezed


def _squeeze_channel(x, shape, axis):
    """(N,H,W) from (N,H,W), (N,H,W,1) or, for axis 1, (N,1,H,W); or None."""
    received = tuple(x.shape)
    batch, height, width, _ = shape
    if compatible(received, (batch, height, width)):
        return x
    if axis == 1 and compatible(received, (batch, 1, height, width)):
        return ops.squeeze(x, axis=1)
    if compatible(received, (batch, height, width, 1)):
        return ops.squeeze(x, axis=-1)
    return None
