"""Weights of a loss on a schedule."""

from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import ops

from keras_rmi._validation import check_choice, check_number, message


class LossWeightSchedule(keras.callbacks.Callback):
    """Changes a weight of a loss during training.

    Use it to fade a term in or out. The value in epoch (or step) `t` is

        weight = schedule(t),   t = 0, 1, ...

    The compiled step reads the weight anew each time, so it is traced once,
    on every backend. For this the weight becomes a metric of the model: the
    progress bar and `history` show it. A model that is a subclass of
    `keras.Model` takes no metrics once it is built: there pass it to
    `compile(loss=loss, metrics=[loss.weight("affinity_weight")])`.

    After training the weight keeps its last value, also in a saved model.

    Args:
        loss: The loss that the model is compiled with, or a part of it, such
            as `keras_rmi.AffinityFieldLoss`.
        weight: Name of the weight, such as `"affinity_weight"`.
        schedule: Takes `t` and gives a number >= 0. The schedules of
            `keras.optimizers.schedules` do too.
        every: What `t` counts: `"epoch"`, or `"step"`, which goes on from
            `optimizer.iterations`. Defaults to `"epoch"`.

    Example:

    >>> import keras_rmi
    >>> callback = keras_rmi.callbacks.LossWeightSchedule(
    ...     keras_rmi.AffinityFieldLoss(), "affinity_weight",
    ...     schedule=lambda step: 20.0 ** (-step / 30000), every="step")
    >>> round(callback.schedule(15000), 4)
    0.2236
    """

    def __init__(
        self,
        loss: Any,
        weight: str,
        schedule: Callable[[int], Any],
        every: Literal["epoch", "step"] = "epoch",
    ) -> None:
        super().__init__()
        if not hasattr(loss, "weight"):
            raise TypeError(
                message("loss", "a loss with weights that can change", loss)
            )
        if not callable(schedule):
            raise TypeError(message("schedule", "a function of t", schedule))
        self.loss = loss
        self.weight = weight
        self.schedule = schedule
        self.every = check_choice("every", every, ("epoch", "step"))
        self._metric = loss.weight(weight)
        self._epoch_start = self._next = 0
        self._joined = False

    def on_train_begin(self, logs=None):
        model = self.model
        self._joined = self._is_part_of(model) or self._join(model)
        iterations = getattr(model.optimizer, "iterations", 0)
        self._next = int(ops.convert_to_numpy(iterations))

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = self._next
        if self.every == "epoch":
            self._assign(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self.every == "step":
            self._assign(self._epoch_start + batch)

    def on_train_batch_end(self, batch, logs=None):
        self._next = self._epoch_start + batch + 1
        if not self._joined:
            # What `compile` was given may be built in the first step only.
            self._joined = self._is_part_of(self.model)
        if not self._joined:
            raise ValueError(
                message(
                    "model",
                    "one that takes metrics after it is built",
                    type(self.model).__name__,
                    f"Compile it with metrics=[loss.weight({self.weight!r})].",
                )
            )

    def _assign(self, t):
        value = float(ops.convert_to_numpy(self.schedule(t)))
        check_number(f"schedule({t})", value, 0.0)
        # Asking for the model brings its state back where Keras holds it
        # elsewhere during an epoch; without, the step would not see this.
        if self.model is not None:
            self._metric.assign(value)

    def _is_part_of(self, model):
        known = {id(variable) for variable in model.metrics_variables}
        return all(id(v) in known for v in self._metric.variables)

    def _join(self, model):
        """Makes the weight a metric of the model; whether that was possible."""
        try:
            setattr(model, f"{self.loss.name}_{self.weight}", self._metric)
        except ValueError:
            return False
        # A step that was traced before has the weight as a constant.
        model.make_train_function(force=True)
        model.make_test_function(force=True)
        return True
