"""Weights of a loss that follow a schedule while `fit` runs."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_rmi
from support import BACKEND, MODES, SAME, assert_value, to_numpy

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


class Counted(keras_rmi.AffinityFieldLoss):
    """Counts how often its Python code runs."""

    calls = 0

    def call(self, *args, **kwargs):
        self.calls += 1
        return super().call(*args, **kwargs)


def frozen(model, loss, jit_compile=JIT, **options):
    """Compiled so that nothing but the weight of the loss changes."""
    model.compile(
        optimizer=keras.optimizers.SGD(0.0),
        loss=loss,
        jit_compile=jit_compile,
        **options,
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


def terms(model):
    """Value of the loss without the affinity term, and of the term."""
    images, labels = data()
    logits = model.predict(images, verbose=0)
    values = [
        to_numpy(
            keras_rmi.affinity_field_loss(
                labels, logits, from_logits=True, affinity_weight=weight
            )
        ).mean()
        for weight in (0.0, 1.0)
    ]
    return values[0], values[1] - values[0]


def schedule_of(loss, every="epoch"):
    return keras_rmi.callbacks.LossWeightSchedule(
        loss, "affinity_weight", lambda t: 2.0 + t, every=every
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
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    model = frozen(build(), loss, jit_compile)
    history = fit(model, schedule_of(loss), validation_data=data())
    pixel, affinity = terms(model)
    expected = pixel + affinity * np.array([2.0, 3.0, 4.0])
    assert_value(history["loss"], expected, SAME)
    assert_value(history["val_loss"], expected, SAME)
    assert_value(history["affinity_weight"], [2.0, 3.0, 4.0], SAME)


def test_each_step_trains_with_its_own_weight():
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    model = frozen(sequential(), loss)
    batches = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            batches.append(float(logs["affinity_weight"]))

    images, labels = data(1)
    images, labels = images.repeat(4, axis=0), labels.repeat(4, axis=0)
    callbacks = [schedule_of(loss, "step"), Record()]
    history = model.fit(
        images,
        labels,
        batch_size=2,
        epochs=2,
        verbose=0,
        callbacks=callbacks,
    ).history
    assert batches == [2.0, 3.0, 4.0, 5.0]
    # Every batch is the same, so the mean of an epoch is that of its weights.
    at_five = model.evaluate(images, labels, verbose=0, return_dict=True)
    loss.weight("affinity_weight").assign(0.0)
    at_zero = model.evaluate(images, labels, verbose=0, return_dict=True)
    affinity = (at_five["loss"] - at_zero["loss"]) / 5.0
    expected = at_zero["loss"] + affinity * np.array([2.5, 4.5])
    assert_value(history["loss"], expected, SAME)


def test_steps_go_on_from_those_of_the_optimizer():
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    model = frozen(sequential(), loss)
    fit(model, epochs=2)
    history = fit(model, schedule_of(loss, "step"), epochs=1)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 6
    assert history["affinity_weight"] == [2.0 + 5]


@pytest.mark.skipif(not JIT, reason=f"{BACKEND} traces nothing")
def test_a_new_weight_is_no_new_trace():
    loss = Counted(from_logits=True)
    model = frozen(sequential(), loss)
    fit(model, schedule_of(loss), epochs=1, validation_data=data())
    calls = loss.calls
    assert calls
    fit(model, schedule_of(loss), validation_data=data())
    fit(model, schedule_of(loss, "step"), validation_data=data())
    assert loss.calls == calls


def test_a_model_that_was_trained_before_sees_the_weight():
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    model = frozen(sequential(), loss)
    fit(model, validation_data=data())
    pixel, affinity = terms(model)
    history = fit(model, schedule_of(loss), validation_data=data())
    expected = pixel + affinity * np.array([2.0, 3.0, 4.0])
    assert_value(history["loss"], expected, SAME)
    assert_value(history["val_loss"], expected, SAME)


def test_a_subclass_is_given_the_weight_as_a_metric():
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    metrics = [loss.weight("affinity_weight")]
    model = frozen(Subclass(), loss, metrics=metrics)
    model(data()[0])
    history = fit(model, schedule_of(loss))
    pixel, affinity = terms(model)
    expected = pixel + affinity * np.array([2.0, 3.0, 4.0])
    assert_value(history["loss"], expected, SAME)


def test_a_built_subclass_without_the_metric_is_refused():
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    model = frozen(Subclass(), loss)
    model(data()[0])
    expected = r"metrics=\[loss.weight\('affinity_weight'\)\].*model='Subclass'"
    with pytest.raises(ValueError, match=expected):
        fit(model, schedule_of(loss))


def test_a_saved_model_keeps_the_last_weight(tmp_path):
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    model = frozen(sequential(), loss)
    fit(model, schedule_of(loss))
    before = model.evaluate(*data(), verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    after = loaded.evaluate(*data(), verbose=0, return_dict=True)
    assert loaded.loss.affinity_weight == 4.0
    assert_value(np.array(after["loss"]), np.array(before["loss"]), SAME)
    history = fit(loaded, schedule_of(loaded.loss))
    assert_value(history["affinity_weight"], [2.0, 3.0, 4.0], SAME)


def test_a_schedule_of_keras_will_do():
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    model = frozen(sequential(), loss)
    schedule = keras.optimizers.schedules.ExponentialDecay(
        1.0, decay_steps=2, decay_rate=0.25
    )
    history = fit(
        model,
        keras_rmi.callbacks.LossWeightSchedule(
            loss, "affinity_weight", schedule
        ),
    )
    assert_value(history["affinity_weight"], [1.0, 0.5, 0.25], SAME)


def test_the_weight_needs_a_loss_that_has_it():
    with pytest.raises(TypeError, match=r"`loss`.*Received: loss="):
        schedule_of(keras.losses.MeanSquaredError())
    with pytest.raises(ValueError, match=r"`name`.*'affinity_weight'.*'rmi'"):
        keras_rmi.callbacks.LossWeightSchedule(
            keras_rmi.AffinityFieldLoss(), "rmi", float
        )


def test_the_schedule_is_a_function_of_epochs_or_steps():
    loss = keras_rmi.AffinityFieldLoss()
    with pytest.raises(TypeError, match=r"`schedule`.*schedule=0.5"):
        keras_rmi.callbacks.LossWeightSchedule(loss, "affinity_weight", 0.5)
    with pytest.raises(ValueError, match=r"`every`.*every='batch'"):
        schedule_of(loss, every="batch")


def test_a_negative_weight_is_refused():
    loss = keras_rmi.AffinityFieldLoss(from_logits=True)
    callback = keras_rmi.callbacks.LossWeightSchedule(
        loss, "affinity_weight", lambda epoch: 1.0 - epoch
    )
    with pytest.raises(ValueError, match=r"`schedule\(2\)`.*=-1.0"):
        fit(frozen(sequential(), loss), callback)
