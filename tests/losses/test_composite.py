"""Weighted sums of losses, and what of them can be seen and changed."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_rmi
from cases import class_ids, logits
from keras_rmi import CompositeLoss
from reference.crossentropy import crossentropy
from reference.rmi import rmi_loss
from support import (
    MODES,
    SAME,
    assert_gradient,
    assert_value,
    to_numpy,
    value_and_gradient,
)

VOID = 255
CLASSES = 3
SIZE = (5, 13, 11)
JIT = "compiled" in MODES
COMMON = {"from_logits": True, "ignore_class": VOID}
# Compiles fast.
RMI = {"radius": (1, 2), "pool_size": 2, "rmi_weight": 1.0}


def rmi(**options):
    return keras_rmi.RMILoss(**RMI, **COMMON, **options)


def ce(**options):
    return keras_rmi.SoftmaxCrossentropy(**COMMON, **options)


def data():
    return class_ids(SIZE, CLASSES), logits(SIZE, CLASSES)


def weights_of(kind):
    """Weights of images or of pixels, with zeros among them."""
    if kind is None:
        return None
    rng = np.random.default_rng(6)
    weights = rng.uniform(0.5, 2.0, SIZE[:1] if kind == "images" else SIZE)
    weights[1] = 0.0
    return weights.astype("float32")


def values(loss, y_true, y_pred, sample_weight=None):
    """One per image, as users run it."""
    return value_and_gradient(
        lambda x: loss(y_true, ops.stop_gradient(x), sample_weight), y_pred
    )[0]


class Recorded(keras.losses.Loss):
    """The mean prediction of a pixel; counts how often it is traced."""

    def __init__(self, name="recorded"):
        super().__init__(name=name)
        self.calls = 0

    def call(self, y_true, y_pred):
        self.calls += 1
        return ops.mean(y_pred, axis=-1)


@pytest.mark.parametrize("kind", [None, "images", "pixels"])
def test_value_and_gradient_are_weighted_sums_of_float64(kind):
    y_true, y_pred = data()
    sample_weight = weights_of(kind)
    parts = {"ce": (ce(), 0.25), "rmi": (rmi(), 2.0)}
    loss = CompositeLoss(parts, reduction=None)
    options = {"sample_weight": sample_weight, **COMMON}
    references = [
        (0.25, crossentropy(y_true, y_pred, activation="softmax", **options)),
        (2.0, rmi_loss(y_true, y_pred, **RMI, **options)),
    ]
    value, gradient = value_and_gradient(
        lambda x: loss(y_true, x, sample_weight), y_pred
    )
    assert_value(value, sum(w * v for w, (v, _) in references))
    assert_gradient(gradient, sum(w * g for w, (_, g) in references))


def test_a_nested_composite_is_the_sum_written_out():
    y_true, y_pred = data()
    inner = CompositeLoss({"ce": ce(), "rmi": (rmi(), 0.5)}, reduction="sum")
    nested = CompositeLoss({"a": (inner, 3.0), "b": ce()}, reduction=None)
    parts = {"ce": (ce(), 4.0), "rmi": (rmi(), 1.5)}
    flat = CompositeLoss(parts, reduction=None)
    assert_value(
        values(nested, y_true, y_pred), values(flat, y_true, y_pred), SAME
    )


def test_the_order_of_the_parts_makes_no_difference():
    y_true, y_pred = data()
    parts = {"ce": (ce(), 0.3), "rmi": (rmi(), 0.7)}
    one = CompositeLoss(parts, reduction=None)
    other = CompositeLoss(dict(reversed(parts.items())), reduction=None)
    assert_value(
        values(one, y_true, y_pred), values(other, y_true, y_pred), SAME
    )


def test_a_part_of_weight_zero_is_not_computed():
    y_true, y_pred = data()
    recorded = Recorded()
    loss = CompositeLoss({"off": (recorded, 0), "ce": ce()}, reduction=None)
    assert_value(
        values(loss, y_true, y_pred),
        values(ce(reduction=None), y_true, y_pred),
        SAME,
    )
    assert recorded.calls == 0
    off, _ = loss.part_metrics()
    off.update_state(y_true, y_pred)
    assert recorded.calls == 1
    assert abs(float(off.result()) - y_pred.mean()) <= SAME


def test_only_parts_of_weight_zero_are_worth_zero():
    y_true, y_pred = data()
    loss = CompositeLoss({"ce": (ce(), 0.0)}, reduction=None)
    value, gradient = value_and_gradient(lambda x: loss(y_true, x), y_pred)
    assert value.shape == SIZE[:1]
    assert not value.any()
    assert not gradient.any()


def one_hot(y_true):
    return np.float32(y_true[..., None] == np.arange(CLASSES))


def test_a_loss_of_keras_gives_the_mean_of_an_image():
    y_true, y_pred = data()
    y_true = one_hot(y_true)
    parts = {
        "pixels": keras.losses.CategoricalCrossentropy(from_logits=True),
        "images": keras.losses.Tversky(axis=(1, 2, 3)),
    }
    for name, part in parts.items():
        loss = CompositeLoss({name: (part, 2.0)}, reduction=None)
        alone = [
            2 * float(part(y_true[i : i + 1], y_pred[i : i + 1]))
            for i in range(len(y_true))
        ]
        assert_value(values(loss, y_true, y_pred), np.array(alone), SAME)
        by_image = weights_of("images")
        assert_value(
            values(loss, y_true, y_pred, by_image), by_image * alone, SAME
        )


def test_weights_of_pixels_weigh_the_values_of_a_loss_of_keras():
    y_true, y_pred = data()
    ids = np.where(y_true == VOID, 0, y_true)
    pixels = weights_of("pixels") * (y_true != VOID)
    part = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = CompositeLoss({"ce": part}, reduction=None)
    expected = values(ce(reduction=None), y_true, y_pred, pixels)
    for weights in (pixels, pixels[..., None]):
        assert_value(values(loss, ids, y_pred, weights), expected, SAME)


def test_a_loss_of_keras_must_have_values_that_can_be_weighed():
    y_true, y_pred = data()
    per_batch = CompositeLoss({"dice": keras.losses.Dice()})
    with pytest.raises(ValueError, match="`dice values`: expected one per im"):
        per_batch(one_hot(y_true), y_pred)
    per_image = CompositeLoss({"dice": keras.losses.Dice(axis=(1, 2, 3))})
    with pytest.raises(ValueError, match=r"`sample_weight\.shape`: expected w"):
        per_image(one_hot(y_true), y_pred, weights_of("pixels"))
    ignoring = keras.losses.SparseCategoricalCrossentropy(ignore_class=VOID)
    with pytest.raises(ValueError, match=r"parts\['ce'\]\.ignore_class=255"):
        CompositeLoss({"ce": ignoring})


@pytest.mark.parametrize("kind", [None, "images", "pixels"])
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"]
)
def test_parts_sum_to_the_loss_that_keras_reports(reduction, kind):
    y_true, y_pred = data()
    weights = weights_of(kind)
    loss = CompositeLoss(
        {"ce": (ce(), 0.25), "bce": keras_rmi.SigmoidCrossentropy(**COMMON)},
        reduction=reduction,
    )
    image = keras.Input((*SIZE[1:], CLASSES))
    model = keras.Model(image, keras.layers.Identity()(image))
    model.compile(
        loss=loss, weighted_metrics=loss.part_metrics(), jit_compile=False
    )
    logs = model.evaluate(
        *(y_pred, y_true),
        sample_weight=weights,
        batch_size=2,
        verbose=0,
        return_dict=True,
    )
    assert_value(0.25 * logs["ce"] + logs["bce"], logs["loss"], SAME)
    if reduction == "sum_over_batch_size":
        expected = values(ce(reduction=None), y_true, y_pred, weights).mean()
        assert_value(logs["ce"], expected, SAME)


def network():
    return keras.Sequential(
        [
            keras.Input((*SIZE[1:], CLASSES)),
            keras.layers.Conv2D(CLASSES, 3, padding="same"),
        ]
    )


def fit(model, loss, epochs=3, **options):
    """History of a training with an unequal last batch and all weights."""
    y_true, images = data()
    weights = weights_of("pixels")
    model.compile(
        optimizer=keras.optimizers.SGD(0.01),
        loss=loss,
        weighted_metrics=loss.part_metrics(),
        jit_compile=JIT,
    )
    return model.fit(
        *(images, y_true),
        sample_weight=weights,
        validation_data=(images[:3], y_true[:3], weights[:3]),
        batch_size=2,
        epochs=epochs,
        verbose=0,
        **options,
    ).history


def test_parts_are_seen_in_fit_and_sum_to_the_loss():
    loss = CompositeLoss({"ce": (ce(), 0.25), "rmi": rmi()})
    history = fit(network(), loss)
    expected = {"loss", "ce", "rmi"}
    assert set(history) == expected | {f"val_{name}" for name in expected}
    for when in ("", "val_"):
        total, first, second = (
            np.array(history[when + name]) for name in ("loss", "ce", "rmi")
        )
        assert np.all(np.diff(total) < 0)
        assert_value(0.25 * first + second, total, SAME)


def test_a_weight_that_changes_is_used_at_once_and_traced_once():
    recorded = Recorded()
    loss = CompositeLoss({"rmi": (recorded, 5.0), "ce": ce()})
    callback = keras_rmi.callbacks.LossWeightSchedule(
        loss, "rmi_weight", lambda epoch: 0.5 * epoch
    )
    model = network()
    history = fit(model, loss, callbacks=[callback])
    weights = np.array([0.0, 0.5, 1.0])
    assert_value(history["rmi_weight"], weights, SAME)
    for when in ("", "val_"):
        part, rest, total = (
            np.array(history[when + name]) for name in ("rmi", "ce", "loss")
        )
        assert_value(weights * part + rest, total, SAME)
    assert loss.get_config()["parts"]["rmi"][1] == 1.0
    if JIT:
        calls = recorded.calls
        y_true, images = data()
        model.fit(
            *(images[:4], y_true[:4], 2, 3),
            sample_weight=weights_of("pixels")[:4],
            callbacks=[callback],
            verbose=0,
        )
        assert recorded.calls == calls


def test_a_weight_inside_a_part_can_change():
    inner = CompositeLoss({"ce": ce(), "one": (Recorded(), 0.0)}, name="inner")
    loss = CompositeLoss({"inner": (inner, 2.0)})
    callback = keras_rmi.callbacks.LossWeightSchedule(
        inner, "one_weight", lambda epoch: 1.0 + epoch
    )
    history = fit(network(), loss, epochs=2, callbacks=[callback])
    plain = fit(network(), CompositeLoss({"inner": (ce(), 2.0)}), epochs=1)
    assert_value(history["one_weight"], [1.0, 2.0], SAME)
    assert_value(2 * np.array(history["inner"]), history["loss"], SAME)
    assert abs(history["loss"][0] - plain["loss"][0]) > 1e-3


def test_prefixes_keep_the_metrics_of_two_composites_apart():
    loss = CompositeLoss({"ce": ce(), "rmi": rmi()})
    names = [metric.name for metric in loss.part_metrics("left_")]
    assert names == ["left_ce", "left_rmi"]


def as_json(loss):
    return json.dumps(keras.saving.serialize_keras_object(loss))


def test_a_saved_model_keeps_parts_weights_and_metrics(tmp_path):
    y_true, images = data()
    foreign = keras.losses.BinaryCrossentropy(from_logits=True)
    inner = CompositeLoss({"mean": (foreign, 0.5), "ce": ce()})
    loss = CompositeLoss({"rmi": (rmi(), 0.25), "inner": inner}, name="whole")
    loss.weight("rmi_weight").assign(0.75)
    model = network()
    model.compile(
        loss=loss, weighted_metrics=loss.part_metrics("p_"), jit_compile=False
    )
    model.optimizer.build(model.trainable_variables)
    y_true = one_hot(y_true)
    logs = model.evaluate(images, y_true, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert as_json(loaded.loss) == as_json(loss)
    assert loaded.loss.parts["rmi"][1] == 0.75
    again = loaded.evaluate(images, y_true, verbose=0, return_dict=True)
    assert set(again) == set(logs) == {"loss", "p_rmi", "p_inner"}
    for name, value in logs.items():
        assert_value(again[name], value, SAME)


def test_config_survives_json_and_shares_nothing():
    parts = {"ce": ce(label_smoothing=0.1), "rmi": (rmi(), 0.5)}
    loss = CompositeLoss(parts, reduction="sum", name="both", dtype="float16")
    parts.clear()
    again = keras.saving.deserialize_keras_object(json.loads(as_json(loss)))
    assert as_json(again) == as_json(loss)
    assert (again.reduction, again.name) == ("sum", "both")
    assert again.dtype == "float16"
    assert again.parts["ce"][0].label_smoothing == 0.1
    assert again.parts["ce"][0] is not loss.parts["ce"]


def test_half_precision_results_have_the_dtype_asked_for():
    y_true, y_pred = data()
    loss = CompositeLoss({"ce": ce()}, dtype="bfloat16")
    value = loss(y_true, y_pred)
    assert keras.backend.standardize_dtype(value.dtype) == "bfloat16"
    assert abs(float(to_numpy(ops.cast(value, "float32")))) > 0


@pytest.mark.parametrize(
    ("parts", "error", "expected"),
    [
        ([ce()], TypeError, "Invalid `parts`: expected a dictionary"),
        ({}, ValueError, "Received: parts={}"),
        ({"": ce()}, ValueError, "Received: parts=''"),
        ({1: ce()}, ValueError, "Received: parts=1"),
        ({"loss": ce()}, ValueError, "Keras reports the whole as 'loss'"),
        ({"a": "mse"}, TypeError, "Received: parts['a']='mse'"),
        ({"a": (ce(),)}, TypeError, "Invalid `parts['a']`: expected a `keras"),
        ({"a": (1.0, ce())}, TypeError, "or a pair (loss, weight)"),
        ({"a": (ce(), -1)}, ValueError, "Received: parts['a']=-1"),
        ({"a": (ce(), "1")}, TypeError, "Received: parts['a']='1'"),
        ({"a": (ce(), float("nan"))}, ValueError, "Received: parts['a']=nan"),
    ],
    ids=range(11),
)
def test_rejects_wrong_parts(parts, error, expected):
    with pytest.raises(error) as caught:
        CompositeLoss(parts)
    assert expected in str(caught.value)
