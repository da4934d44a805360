"""What losses ask of labels, whatever the form they came in.

Labels y of a map, class ids (N,H,W) or a label map (N,H,W,C), offer

    valid, weight                 (N,H,W) float32, 0 where void
    dense()                       y (N,H,W,C)
    pick(values)                  sum_c y_c values_c (N,H,W)
    mass(class_weights)           sum_c weight_c y_c (N,H,W)
    subtract_from(x, scale, class_weights)
                                  x_c - scale weight_c y_c (N,H,W,C)
    rows(start, stop)             the labels of some rows
    reshaped(shape)               the pixels of every image in another shape

and, as long as they are not smoothed, `at(rows, columns)`, the labels of some
pixels by their indices, and `downsampled(downsampling)`, a map.
What is void is zero in `dense()` and arbitrary in sums over the classes.
"""

from keras import ops

from keras_rmi import _backend
from keras_rmi._backend_gradients import holds_arrays


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
        return _valid_ids(self.ids) if self._valid is None else self._valid

    @property
    def weight(self):
        return self.valid if self._weight is None else self._weight

    def dense(self):
        return _backend.one_hot(self.ids, self.num_classes)

    def pick(self, values):
        return _backend.pick(values, self._safe_ids())

    def mass(self, class_weights):
        if class_weights is None:
            return ops.ones_like(self.ids, dtype="float32")
        return ops.take(class_weights, self._safe_ids(), axis=0)

    def subtract_from(self, x, scale, class_weights):
        """For a `scale` (N,H,W,1) of 0 where void; `x` may be lost."""
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
        """Arbitrary where void."""
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
