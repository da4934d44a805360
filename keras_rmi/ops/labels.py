"""Labels in all their forms, and which pixels are void.

The only place that knows about ignored classes. A pixel is void where its
class is ignored, where its class id is outside of 0..C-1, where dense labels
are all zero while `ignore_class` is set, and where its weight is zero.
"""

import keras
from keras import ops

from keras_rmi import _backend
from keras_rmi._backend_gradients import holds_arrays
from keras_rmi._validation import compatible, message, static_shape

# Cast before comparison: some cannot hold C, and `bool` has no order.
_SMALL_DTYPES = ("bool", "int8", "uint8", "int16", "uint16")


@holds_arrays("ids", "_weight", "_valid")
class SparseLabels:
    """Class ids (N,H,W), int32, -1 where void; `weight` (N,H,W) or None."""

    def __init__(self, ids, num_classes, weight=None, valid=None):
        self.ids = ids
        self.num_classes = num_classes
        self._weight = weight
        self._valid = valid

    def rows(self, start, stop):
        """These rows; which of their pixels count is found out once."""
        weight = self._weight
        ids = self.ids[:, start:stop]
        return SparseLabels(
            ids,
            self.num_classes,
            None if weight is None else weight[:, start:stop],
            _valid_ids(ids),
        )

    def reshaped(self, shape):
        """The pixels of every image in another shape, (N,*shape)."""
        return SparseLabels(
            _reshape(self.ids, shape),
            self.num_classes,
            *(
                None if x is None else _reshape(x, shape)
                for x in (self._weight, self._valid)
            ),
        )

    @property
    def valid(self):
        """1 where a pixel counts, (N,H,W) float32."""
        return _valid_ids(self.ids) if self._valid is None else self._valid

    @property
    def weight(self):
        """Weight of each pixel in the pixel term, zero where void."""
        return self.valid if self._weight is None else self._weight

    def dense(self):
        """One-hot map (N,H,W,C), zero where void."""
        return _backend.one_hot(self.ids, self.num_classes)

    def pick(self, values):
        """sum_c y_c values_c (N,H,W), arbitrary where void."""
        return _backend.pick(values, self._safe_ids())

    def mass(self, class_weights):
        """sum_c weight_c y_c (N,H,W), arbitrary where void."""
        if class_weights is None:
            return ops.ones_like(self.ids, dtype="float32")
        return ops.take(class_weights, self._safe_ids(), axis=0)

    def subtract_from(self, x, scale, class_weights):
        """x_c - scale weight_c y_c (N,H,W,C), for a `scale` of 0 where void.

        `x` may be lost.
        """
        values = scale[..., 0]
        if class_weights is not None:
            values = values * self.mass(class_weights)
        return _backend.subtract_at(x, self._safe_ids(), values)

    def _safe_ids(self):
        """0 where void."""
        return ops.maximum(self.ids, _backend.constant(0, self.ids, "int32"))

    def downsampled(self, downsampling):
        return downsampling.one_hot(self.ids, self.num_classes)

    def at(self, rows, columns):
        """The labels of some pixels, by their indices."""
        weight = self._weight
        return SparseLabels(
            _at(self.ids, rows, columns),
            self.num_classes,
            None if weight is None else _at(weight, rows, columns),
        )


@holds_arrays("labels", "valid", "weight")
class DenseLabels:
    """A label map (N,H,W,C), float32, zero where void."""

    def __init__(self, labels, valid, weight=None):
        self.labels = labels
        self.valid = valid
        self.weight = valid if weight is None else weight

    def rows(self, start, stop):
        return DenseLabels(
            self.labels[:, start:stop],
            self.valid[:, start:stop],
            self.weight[:, start:stop],
        )

    def reshaped(self, shape):
        channels = self.labels.shape[-1]
        return DenseLabels(
            _reshape(self.labels, (*shape, channels)),
            _reshape(self.valid, shape),
            _reshape(self.weight, shape),
        )

    @property
    def num_classes(self):
        return self.labels.shape[-1]

    def dense(self):
        return self.labels

    def pick(self, values):
        return ops.sum(self.labels * values, axis=-1)

    def mass(self, class_weights):
        labels = self.labels
        if class_weights is not None:
            labels = labels * class_weights
        return ops.sum(labels, axis=-1)

    def subtract_from(self, x, scale, class_weights):
        if class_weights is not None:
            scale = class_weights * scale
        return x - scale * self.labels

    def downsampled(self, downsampling):
        return downsampling(self.labels)

    def at(self, rows, columns):
        return DenseLabels(
            _at(self.labels, rows, columns),
            _at(self.valid, rows, columns),
            _at(self.weight, rows, columns),
        )


@holds_arrays("labels")
class SmoothedLabels:
    """`share * y + rest` of the labels y, which stay in their form."""

    def __init__(self, labels, share, rest):
        self.labels = labels
        self.share = share
        self.rest = rest

    def rows(self, start, stop):
        return SmoothedLabels(
            self.labels.rows(start, stop), self.share, self.rest
        )

    def reshaped(self, shape):
        return SmoothedLabels(
            self.labels.reshaped(shape), self.share, self.rest
        )

    @property
    def valid(self):
        return self.labels.valid

    @property
    def weight(self):
        return self.labels.weight

    def dense(self):
        """The map (N,H,W,C), arbitrary where void."""
        return self.share * self.labels.dense() + self.rest

    def pick(self, values):
        total = ops.sum(values, axis=-1)
        return self.share * self.labels.pick(values) + self.rest * total

    def mass(self, weights):
        total = self.num_classes if weights is None else ops.sum(weights)
        return self.share * self.labels.mass(weights) + self.rest * total

    def subtract_from(self, x, scale, class_weights):
        rest = self.rest if class_weights is None else self.rest * class_weights
        return self.labels.subtract_from(
            x - rest * scale, self.share * scale, class_weights
        )

    @property
    def num_classes(self):
        return self.labels.num_classes


def smooth_labels(labels, smoothing, num_targets):
    """Mixes labels with the uniform label `1 / num_targets`."""
    if not smoothing:
        return labels
    return SmoothedLabels(labels, 1.0 - smoothing, smoothing / num_targets)


def _valid_ids(ids):
    return ops.cast(ids >= 0, "float32")


def _reshape(x, shape):
    """(N,...) as (N,*shape)."""
    return _backend.reshape(x, (ops.shape(x)[0], *shape))


def _at(x, rows, columns):
    """(N,h,w,...) from (N,H,W,...), at the indices (h,) and (w,)."""
    return ops.take(ops.take(x, rows, axis=1), columns, axis=2)


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
    y_true = ops.convert_to_tensor(y_true)
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
