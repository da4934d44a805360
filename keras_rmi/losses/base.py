"""What every loss of the collection shares: inputs, weights, config."""

import inspect

import keras
from keras import ops

from keras_rmi import _backend, _backend_modes
from keras_rmi._validation import (
    check_class_weights,
    check_config,
    check_flag,
    check_ignore_class,
    message,
)
from keras_rmi.ops.inputs import (
    certainty,
    read_axis,
    read_map,
    read_tensor,
)
from keras_rmi.ops.labels import read_labels
from keras_rmi.ops.weights import read_sample_weight


class SegmentationLoss(keras.losses.Loss):
    """A loss with one value per image, weighted by image or by pixel.

    Keras' own `Loss` casts labels to the dtype of the loss and multiplies
    `sample_weight` by plain broadcasting. Here labels keep their dtype,
    weights are told apart by their rank, and Keras reduces values (N,). Where
    the predictions of an image hold NaN or infinity, its value is NaN.

    A subclass stores its arguments under their own names, lists them in
    `_options` and implements `call(y_true, y_pred, sample_weight=None)`,
    where only weights of pixels arrive. It has the attributes `axis`,
    `class_weights` and `_ignored`, a tuple of class ids.
    """

    _options = ()
    # What `_keep` stores, for the end of `_options`.
    _common = ("from_logits", "ignore_class", "class_weights", "axis")

    def __init__(self, name, reduction, dtype):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._reduce = _Reduction(name=name, reduction=reduction, dtype=dtype)

    @_backend_modes.as_written
    def __call__(self, y_true, y_pred, sample_weight=None):
        with _backend_modes.scope(self.name, y_pred):
            y_pred = read_tensor("y_pred", y_pred)
            image_weight, pixel_weight = read_sample_weight(
                sample_weight, y_pred.shape[0] if y_pred.shape else None
            )
            values = _backend_modes.by_images(
                self._values, y_pred, y_true, pixel_weight
            )
            if values.shape[0] == 0 and self.reduction not in (None, "none"):
                # Keras would reduce nothing and return an array of no values.
                values, image_weight = ops.sum(values), None
            return self._reduce(values, values, sample_weight=image_weight)

    def _values(self, y_pred, y_true, pixel_weight):
        values = self.call(y_true, y_pred, sample_weight=pixel_weight)
        return values * certainty(y_pred)

    def __repr__(self):
        """The call that makes it, options at their defaults left out."""
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(
                type(self)
            ).parameters.items()
        }
        if "dtype" in defaults:
            defaults["dtype"] = keras.config.floatx()
        values = self._arguments(defaults)
        options = [
            f"{name}={values[name]!r}"
            for name, default in defaults.items()
            if name in values and repr(values[name]) != repr(default)
        ]
        return f"{type(self).__name__}({', '.join(options)})"

    def _arguments(self, names):
        """What the constructor was given, as far as it was kept."""
        return {n: getattr(self, n) for n in names if hasattr(self, n)}

    def get_config(self):
        options = {name: getattr(self, name) for name in self._options}
        return {**options, **super().get_config(), "dtype": self.dtype}

    @classmethod
    def from_config(cls, config):
        return cls(**check_config(cls, config))

    def _keep(self, from_logits, ignore_class, class_weights, axis):
        """Checks and stores the arguments that losses have in common."""
        check_flag("from_logits", from_logits)
        self._ignored = check_ignore_class(ignore_class)
        read_axis(axis)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.class_weights = check_class_weights(class_weights)
        self.axis = axis

    def _read(self, y_true, y_pred, pixel_weight):
        """Predictions (N,H,W,C), labels, and class weights (C,) or None."""
        axis = read_axis(self.axis)
        x, shape = read_map("y_pred", y_pred, axis)
        labels = read_labels(y_true, shape, axis, self._ignored, pixel_weight)
        return x, labels, self._class_weights(x)

    def _class_weights(self, x):
        weights = check_class_weights(self.class_weights)
        if weights is None:
            return None
        num_classes = x.shape[-1]
        if len(weights) != num_classes:
            raise ValueError(
                message(
                    "class_weights",
                    f"{num_classes} numbers, one per channel of `y_pred`",
                    weights,
                )
            )
        return _backend.constant(weights, x)


class _Reduction(keras.losses.Loss):
    """Keras' reduction, weighting and scaling of values that are given."""

    def call(self, y_true, y_pred):
        return y_pred
