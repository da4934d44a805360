"""Losses in saved models, within a backend and from one to another."""

import functools
import json
import zipfile

import keras
import numpy as np
import pytest

import keras_rmi
from cases import FORM_CASES, MAIN_CASES
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


def version(text):
    """Major and minor number."""
    return tuple(map(int, text.split(".")[:2]))


def test_every_backend_has_saved_a_model():
    assert len(SAVED) == 3


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_a_model_of_another_backend_keeps_its_loss(path):
    with zipfile.ZipFile(path) as archive:
        written = json.loads(archive.read("metadata.json"))["keras_version"]
    if version(keras.__version__) < version(written):
        pytest.skip(f"Keras {keras.__version__} reads no file of {written}")
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


@pytest.mark.parametrize("case", MAIN_CASES, ids=str)
def test_a_saved_model_with_any_loss_loads_in_safe_mode(case, tmp_path):
    inputs = keras.Input((8, 9, 2))
    model = keras.Model(
        inputs,
        keras.layers.Conv2D(case.num_classes, 1, data_format="channels_last")(
            inputs
        ),
    )
    # Keras saves the optimizers that it has twice under a path that only a
    # torch process can import.
    model.compile(optimizer=keras.optimizers.Ftrl(), loss=case.build())
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded.loss) is type(model.loss)
    # A pair may come back as a list.
    configs = [json.dumps(m.loss.get_config()) for m in (loaded, model)]
    assert configs[0] == configs[1]


@pytest.mark.parametrize("case", FORM_CASES, ids=str)
def test_a_damaged_config_is_refused_by_name(case):
    loss = case.build()
    config, kind = loss.get_config(), type(loss)
    with pytest.raises(ValueError, match=r"^Invalid `config`: ") as caught:
        kind.from_config({**config, "pool_stride": 3, "bogus": None})
    text = str(caught.value)
    assert f"options of {kind.__name__}: " in text
    assert text.endswith("Received: config=['bogus', 'pool_stride']")
    for other in (None, [], "rmi", 3):
        with pytest.raises(TypeError, match=r"^Invalid `config`: ") as caught:
            kind.from_config(other)
        assert str(caught.value).endswith(f"config={other!r}")


def test_a_config_of_another_class_is_refused():
    config = keras.losses.Dice().get_config()
    with pytest.raises(ValueError, match="options of RMILoss") as caught:
        keras_rmi.RMILoss.from_config({**config, "weights": 1})
    assert "config=['weights']" in str(caught.value)
    for parts in (None, [], {"rmi": None}, {"rmi": ({}, 1.0)}):
        with pytest.raises((TypeError, ValueError)) as caught:
            keras_rmi.CompositeLoss.from_config({"parts": parts})
        assert type(caught.value) in (TypeError, ValueError)
    with pytest.raises(TypeError, match="Invalid `parts`: expected a dict"):
        keras_rmi.CompositeLoss.from_config({"name": "no parts"})


@pytest.mark.parametrize(
    ("option", "value"),
    [("radius", "3"), ("epsilon", "5e-4"), ("axis", None), ("pooling", {})],
)
def test_a_wrong_value_in_a_config_is_refused_as_in_a_call(option, value):
    config = {**keras_rmi.RMILoss().get_config(), option: value}
    with pytest.raises((TypeError, ValueError), match=f"^Invalid `{option}`"):
        keras_rmi.RMILoss.from_config(config)


def test_code_in_a_config_is_not_run():
    """Keras refuses a function in a file; no option here is one."""
    function = keras.saving.serialize_keras_object(
        keras.layers.Lambda(lambda x: x)
    )
    config = {**keras_rmi.AffinityFieldLoss().get_config()}
    with pytest.raises(ValueError, match=r"safe_mode|unsafe|untrusted"):
        keras_rmi.AffinityFieldLoss.from_config(
            {**config, "adaptive": function}
        )
