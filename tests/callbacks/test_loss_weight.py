"""Weights of a loss that follow a schedule while `fit` runs."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_rmi
from keras_rmi.losses.adjustable import AdjustableLoss
from support import BACKEND, MODES, SAME, assert_value

JIT = "compiled" in MODES
EPOCHS = 3


def data(count=4):
    rng = np.random.default_rng(1)
    images = rng.standard_normal((count, 6, 5, 3)).astype("float32")
    return images, rng.integers(0, 2, (count, 6, 5))


def layers():
    return keras.layers.Conv2D(2, 1), keras.layers.Activation("linear")


def sequential():
    return keras.Sequential([keras.Input((6, 5, 3)), *layers()])


def without_input():
    return keras.Sequential(layers())


def functional():
    inputs = keras.Input((6, 5, 3))
    first, second = layers()
    return keras.Model(inputs, second(first(inputs)))


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second = layers()

    def call(self, inputs):
        return self.second(self.first(inputs))


class Weighted(AdjustableLoss):
    """1 + 2 weight, and how often its Python code runs."""

    def __init__(self):
        super().__init__("weighted", "sum_over_batch_size", None)
        self.calls = 0

    def call(self, y_true, y_pred, sample_weight=None):
        self.calls += 1
        nothing = 0.0 * ops.sum(y_pred, axis=(1, 2, 3))
        return 1.0 + 2.0 * self._weight("part") + nothing

    def _initial_weights(self):
        return {"part": 0.5}


def compiled(model, loss, jit_compile=JIT, **options):
    model.compile(
        optimizer="sgd", loss=loss, jit_compile=jit_compile, **options
    )
    return model


def fit(model, callback=None, epochs=EPOCHS, **options):
    images, labels = data()
    return model.fit(
        images,
        labels,
        batch_size=2,
        epochs=epochs,
        verbose=0,
        callbacks=[callback] if callback else [],
        **options,
    ).history


def schedule_of(loss, every="epoch"):
    return keras_rmi.callbacks.LossWeightSchedule(
        loss, "part", lambda t: 2.0 + t, every=every
    )


@pytest.mark.parametrize(
    ("build", "jit_compile"),
    [
        (sequential, JIT),
        (without_input, JIT),
        (functional, JIT),
        *([(sequential, False)] if "graph" in MODES else []),
    ],
)
def test_each_epoch_trains_with_its_own_weight(build, jit_compile):
    loss = Weighted()
    model = compiled(build(), loss, jit_compile)
    history = fit(model, schedule_of(loss), validation_data=data())
    assert history["loss"] == history["val_loss"] == [5.0, 7.0, 9.0]
    assert history["part"] == [2.0, 3.0, 4.0]


def test_each_step_trains_with_its_own_weight():
    loss = Weighted()
    model = compiled(sequential(), loss)
    history = fit(model, schedule_of(loss, "step"), validation_data=data())
    # Two steps in each epoch; the validation has the weight of the last.
    assert history["loss"] == [6.0, 10.0, 14.0]
    assert history["val_loss"] == [7.0, 11.0, 15.0]


def test_steps_go_on_from_those_of_the_optimizer():
    loss = Weighted()
    model = compiled(sequential(), loss)
    fit(model, epochs=2)
    history = fit(model, schedule_of(loss, "step"), epochs=1)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 6
    assert history["part"] == [2.0 + 5.0]


@pytest.mark.skipif(not JIT, reason=f"{BACKEND} traces nothing")
def test_a_new_weight_is_no_new_trace():
    loss = Weighted()
    model = compiled(sequential(), loss)
    fit(model, schedule_of(loss), epochs=1, validation_data=data())
    calls = loss.calls
    assert calls
    fit(model, schedule_of(loss), validation_data=data())
    fit(model, schedule_of(loss, "step"), validation_data=data())
    assert loss.calls == calls


def test_a_model_that_was_trained_before_sees_the_weight():
    loss = Weighted()
    model = compiled(sequential(), loss)
    fit(model, validation_data=data())
    history = fit(model, schedule_of(loss), validation_data=data())
    assert history["loss"] == history["val_loss"] == [5.0, 7.0, 9.0]


def test_a_subclass_is_given_the_weight_as_a_metric():
    loss = Weighted()
    metrics = [loss.weight("part")]
    model = compiled(Subclass(), loss, metrics=metrics)
    model(data()[0])
    history = fit(model, schedule_of(loss))
    assert history["loss"] == [5.0, 7.0, 9.0]


def test_a_built_subclass_without_the_metric_is_refused():
    loss = Weighted()
    model = compiled(Subclass(), loss)
    model(data()[0])
    expected = r"metrics=\[loss.weight\('part'\)\].*model='Subclass'"
    with pytest.raises(ValueError, match=expected):
        fit(model, schedule_of(loss))


def test_a_saved_model_keeps_the_last_weight(tmp_path):
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    model = compiled(sequential(), loss, "auto")
    callback = keras_rmi.callbacks.LossWeightSchedule(
        loss, "affinity_weight", lambda epoch: 2.0 + epoch
    )
    fit(model, callback)
    before = model.evaluate(*data(), verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    after = loaded.evaluate(*data(), verbose=0, return_dict=True)
    assert loaded.loss.affinity_weight == before["affinity_weight"] == 4.0
    assert_value(np.array(after["loss"]), np.array(before["loss"]), SAME)


def test_a_schedule_of_keras_will_do():
    loss = Weighted()
    model = compiled(sequential(), loss)
    schedule = keras.optimizers.schedules.ExponentialDecay(
        1.0, decay_steps=2, decay_rate=0.25
    )
    callback = keras_rmi.callbacks.LossWeightSchedule(loss, "part", schedule)
    history = fit(model, callback)
    assert_value(history["part"], [1.0, 0.5, 0.25], SAME)


def test_the_weight_needs_a_loss_that_has_it():
    with pytest.raises(TypeError, match=r"`loss`.*Received: loss="):
        schedule_of(keras.losses.MeanSquaredError())
    with pytest.raises(ValueError, match=r"`name`.*'part'.*'rmi'"):
        keras_rmi.callbacks.LossWeightSchedule(Weighted(), "rmi", float)


def test_the_schedule_is_a_function_of_epochs_or_steps():
    loss = Weighted()
    with pytest.raises(TypeError, match=r"`schedule`.*schedule=0.5"):
        keras_rmi.callbacks.LossWeightSchedule(loss, "part", 0.5)
    with pytest.raises(ValueError, match=r"`every`.*every='batch'"):
        schedule_of(loss, every="batch")


def test_a_negative_weight_is_refused():
    loss = Weighted()
    callback = keras_rmi.callbacks.LossWeightSchedule(
        loss, "part", lambda epoch: 1.0 - epoch
    )
    with pytest.raises(ValueError, match=r"`schedule\(2\)`.*=-1.0"):
        fit(compiled(sequential(), loss), callback)
