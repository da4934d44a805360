"""Losses in saved models, within a backend and from one to another."""

import functools

import keras
import numpy as np
import pytest

import keras_rmi
from saved_models import OPTIONS, build_model, data
from support import RECORDED, SAME, assert_finite, relative_error

SAVED = sorted(RECORDED.glob("model_*.keras"))


def assert_same_options(loss, options):
    assert type(loss) is keras_rmi.RMILoss
    for name, value in options.items():
        assert getattr(loss, name) == value, name


def evaluate(model):
    return model.evaluate(*data(), verbose=0)


@functools.cache
def expected():
    value = evaluate(build_model())
    assert_finite(value)
    return value


def test_no_option_has_its_default():
    default = keras_rmi.RMILoss().get_config()
    same = [name for name in default if default[name] == OPTIONS.get(name)]
    assert default.keys() == OPTIONS.keys()
    assert same == ["dtype"]


def test_a_saved_model_keeps_its_loss(tmp_path):
    build_model().save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_options(loaded.loss, OPTIONS)
    assert relative_error(evaluate(loaded), expected()) <= SAME


def test_every_backend_has_saved_a_model():
    assert len(SAVED) == 3


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_a_model_of_another_backend_keeps_its_loss(path):
    loaded = keras.saving.load_model(path)
    assert_same_options(loaded.loss, OPTIONS)
    assert relative_error(evaluate(loaded), expected()) <= SAME


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_saved_model_keeps_the_dtype_of_its_loss(dtype, tmp_path):
    build_model(dtype=dtype).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_options(loaded.loss, OPTIONS | {"dtype": dtype})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": None, "radius": (1, 4), "pool_size": (2, 3)},
        {"pooling": "interpolate", "ignore_class": -1, "rmi_weight": 0},
        {"ignore_class": (255, 0), "class_weights": np.ones(3)},
        {"radius": np.int64(2), "epsilon": np.float32(0.25), "reduction": None},
    ],
    ids=str,
)
def test_keras_serialises_and_restores_every_option(options):
    loss = keras_rmi.RMILoss(**options)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is keras_rmi.RMILoss
    for name, value in loss.get_config().items():
        assert np.array_equal(getattr(again, name), value), name


def test_class_weights_are_stored_as_a_list():
    weights = np.array([1.0, 2.0])
    loss = keras_rmi.RMILoss(class_weights=weights)
    weights[:] = -1.0
    assert loss.get_config()["class_weights"] == [1.0, 2.0]
