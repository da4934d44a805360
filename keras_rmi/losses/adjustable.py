"""Weights of a loss that change during training, without another trace.

A compiled step reads a number of Python once, when it is traced. What it
reads anew in each step is the state that Keras hands to it, and the state of
metrics is the part of it that is there while the loss is computed. So a
weight that is to change lives in a metric, whose value is the weight.
"""

import keras
from keras import ops

from keras_rmi._validation import check_choice
from keras_rmi.losses.base import SegmentationLoss


class AdjustableLoss(SegmentationLoss):
    """A loss with weights that `keras_rmi.callbacks` can change.

    A subclass implements `_initial_weights()`, which gives the weights of the
    constructor by name, and computes with `_weight(name)`.
    """

    def __init__(self, name, reduction, dtype):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        # Made when asked for: a function that is traced makes no variables.
        self._adjustable = {}

    def weight(self, name: str):
        """The weight `name` as a metric, whose `assign` changes it."""
        initial = self._initial_weights()
        check_choice("name", name, tuple(initial))
        if name not in self._adjustable:
            self._adjustable[name] = _LossWeight(initial[name], name)
        return self._adjustable[name]

    def _weight(self, name):
        """What to compute with: a number, or a tensor once it can change."""
        if name in self._adjustable:
            return self._adjustable[name].value
        return self._initial_weights()[name]

    def _current_weights(self):
        """Numbers by name, as they are now; for the config."""
        return {
            name: float(ops.convert_to_numpy(self._weight(name)))
            if name in self._adjustable
            else initial
            for name, initial in self._initial_weights().items()
        }


@keras.saving.register_keras_serializable("keras_rmi", name="LossWeight")
class _LossWeight(keras.metrics.Metric):
    """A number that neither data nor the end of an epoch changes."""

    def __init__(self, value, name, dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self._value = keras.Variable(
            value,
            trainable=False,
            dtype="float32",
            aggregation="only_first_replica",
            name=name,
        )

    def assign(self, value):
        self._value.assign(value)

    def update_state(self, *args, **kwargs):
        pass

    def reset_state(self):
        pass

    @property
    def value(self):
        return ops.convert_to_tensor(self._value)

    def result(self):
        # The value itself may be given away to the next step.
        return ops.copy(self.value)

    def get_config(self):
        value = float(ops.convert_to_numpy(self.value))
        return {**super().get_config(), "value": value}
