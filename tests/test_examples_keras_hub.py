"""Segmenters of KerasHub compile, fit and are scored with these losses."""

import importlib
import re
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras_hub import models

import keras_rmi
from stress.mixed_precision import dtype_policy
from support import SAME, assert_finite, assert_value

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))
hub_segmenters = importlib.import_module("hub_segmenters")
scenes = importlib.import_module("scenes")
example = importlib.import_module("segment_with_keras_hub")
SIZE = (64, 64)
CLASSES = len(scenes.CLASS_NAMES)
QUICK = (*("--quick", "--loss", "rmi"), *("--images", "4", "--val-images", "2"))

pytestmark = [
    # Keras' MeanIoU asks for int64, which JAX does not have by default.
    pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64"),
    pytest.mark.parametrize("name", example.MODELS, scope="module"),
]


def compiled(model):
    model.compile(
        optimizer=keras.optimizers.Adam(3e-3),
        loss=keras_rmi.RMILoss(from_logits=True, ignore_class=255),
        metrics=[
            keras.metrics.MeanIoU(
                CLASSES, ignore_class=255, sparse_y_pred=False, name="miou"
            )
        ],
    )
    return model


def make(name, size=SIZE):
    keras.utils.set_random_seed(0)
    return getattr(hub_segmenters, name)(size, CLASSES)


def counted_miou(labels, ids):
    """From sets of pixels, one class after the other, void left out."""
    found = []
    for index in range(CLASSES):
        truth = labels == index
        guess = (ids == index) & (labels != 255)
        if np.any(truth | guess):
            found.append(np.sum(truth & guess) / np.sum(truth | guess))
    return np.mean(found)


@pytest.fixture(scope="module")
def data():
    images, labels = scenes.make_scenes(4, SIZE, "train")
    assert 255 in labels
    return images.astype("float32"), labels


@pytest.fixture(scope="module")
def fitted(name, data):
    """The task of KerasHub itself after a few steps, and their losses."""
    segmenter = compiled(make(name))
    history = segmenter.fit(
        # What a task is given as arrays it does not shuffle, and says so.
        *data,
        batch_size=2,
        epochs=5,
        shuffle=False,
        verbose=0,
    )
    return segmenter, history.history["loss"]


def test_fit_with_void_lowers_the_loss(fitted):
    _, losses = fitted
    assert_finite(losses)
    assert losses[-1] < 0.9 * losses[0]


def test_the_output_is_logits_of_the_size_of_the_images(fitted, data):
    logits = fitted[0].predict(data[0], verbose=0)
    assert logits.shape == (*data[1].shape, CLASSES)
    assert logits.min() < 0


def test_mean_iou_is_the_count_without_void(fitted, data):
    segmenter, (images, labels) = fitted[0], data
    scores = segmenter.evaluate(images, labels, return_dict=True, verbose=0)
    ids = segmenter.predict(images, verbose=0).argmax(axis=-1)
    assert scores["miou"] == pytest.approx(counted_miou(labels, ids), abs=1e-6)
    assert scores["miou"] < 1


def test_what_a_void_pixel_is_predicted_as_does_not_count(name, data):
    labels = data[1]
    metric = keras.metrics.MeanIoU(
        CLASSES, ignore_class=255, sparse_y_pred=False
    )
    ids = np.where(labels == 255, 3, labels)
    metric.update_state(labels, np.eye(CLASSES, dtype="float32")[ids])
    assert float(metric.result()) == pytest.approx(1.0)


def test_a_saved_network_comes_back_with_its_loss(name, data, tmp_path):
    images, labels = data
    model = compiled(hub_segmenters.network(make(name), SIZE))
    model.fit(images, labels, verbose=0)
    value = model.evaluate(images, labels, verbose=0)
    model.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    assert repr(again.loss) == "RMILoss(from_logits=True, ignore_class=255)"
    assert_value(again.evaluate(images, labels, verbose=0), value, SAME)


def test_a_saved_task_takes_the_loss_again(fitted, data, tmp_path):
    value = fitted[0].evaluate(*data, verbose=0)
    fitted[0].save(tmp_path / "task.keras")
    with warnings.catch_warnings():
        # KerasHub 0.32 brings its tasks back with a loss of its own, and
        # warns that it does.
        warnings.simplefilter("ignore", UserWarning)
        again = keras.saving.load_model(tmp_path / "task.keras")
    assert type(again) is type(fitted[0])
    assert_value(compiled(again).evaluate(*data, verbose=0), value, SAME)


def test_float16_trains_with_a_loss_scale(name, data):
    with dtype_policy("mixed_float16"):
        model = compiled(hub_segmenters.network(make(name), SIZE))
    assert model.output.dtype == "float16"
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    history = model.fit(*data, batch_size=2, epochs=3, verbose=0)
    losses = history.history["loss"]
    assert_finite(losses)
    assert losses[-1] < losses[0]


def test_any_size_of_images_gives_logits_of_that_size(name):
    model = hub_segmenters.network(make(name, (50, 70)), (50, 70))
    images, _ = scenes.make_scenes(1, (50, 70), "train")
    assert model.predict(images, verbose=0).shape == (1, 50, 70, CLASSES)


def test_the_example_prints_the_mean_iou(name, tmp_path, capsys):
    output = tmp_path / "hub.png"
    arguments = ["--model", name, *QUICK, "--output", str(output)]
    assert example.main(arguments) == 0
    (line,) = re.findall(r"mean \(mIoU\) +([\d.]+)", capsys.readouterr().out)
    assert 0 <= float(line) <= 1
    assert output.exists()


def test_a_preset_is_its_backbone_under_a_new_head(
    name, fitted, tmp_path, capsys
):
    folder = str(tmp_path / "preset")
    fitted[0].save_to_preset(folder)
    made = hub_segmenters.from_preset(folder, 5)
    assert made.output_shape[-1] == 5
    for new, old in zip(made.backbone.weights, fitted[0].backbone.weights):
        np.testing.assert_array_equal(new.numpy(), old.numpy())
    converter = made.preprocessor.image_converter
    assert converter.scale == pytest.approx(1 / 127.5)
    output = str(tmp_path / "preset.png")
    assert example.main(["--preset", folder, *QUICK, "--output", output]) == 0
    assert "mIoU" in capsys.readouterr().out


def test_a_head_with_a_softmax_is_left_behind(name, fitted, tmp_path):
    task = fitted[0]
    if name == "deeplab_v3_plus":
        task = type(task)(task.backbone, 3, "softmax", task.preprocessor)
    task.save_to_preset(str(tmp_path))
    made = hub_segmenters.from_preset(str(tmp_path), 3)
    images = np.zeros((1, *SIZE, 3), "float32")
    assert made.predict(images, verbose=0).sum(-1).max() != pytest.approx(1)


def test_a_preset_out_of_reach_is_one_line(name, tmp_path, monkeypatch, capsys):
    def fail(preset):
        raise ConnectionError("no route to the host\nand more")

    monkeypatch.setattr(models.Backbone, "from_preset", fail)
    preset = next(iter(hub_segmenters.CLASSES[name].presets))
    output = ["--output", str(tmp_path / "none.png")]
    assert example.main(["--preset", preset, *QUICK, *output]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"segment_with_keras_hub.py: error: preset {preset!r}: "
        "no route to the host\n"
    )


def test_a_preset_that_is_unknown_or_no_segmenter_is_refused(
    name, fitted, tmp_path
):
    with pytest.raises(hub_segmenters.PresetError, match="'no_such_thing': Un"):
        hub_segmenters.from_preset("no_such_thing", 5)
    encoder = fitted[0].backbone.image_encoder
    encoder.save_to_preset(str(tmp_path))
    kind = type(encoder).__name__
    with pytest.raises(hub_segmenters.PresetError, match=f"a {kind}, not Dee"):
        hub_segmenters.from_preset(str(tmp_path), 5)


def test_the_presets_of_the_help_exist(name):
    named = re.findall(rf"^ +({name.split('_')[0]}\w+)$", example.__doc__, re.M)
    assert named
    assert {*named} <= {*hub_segmenters.CLASSES[name].presets}


def test_help_names_every_option_and_model(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        example.main(["--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    for word in (name, "--model", "--preset", "--loss", "--data", "lovasz"):
        assert word in printed


def test_a_model_and_a_preset_exclude_each_other(name, capsys):
    with pytest.raises(SystemExit):
        example.main(["--model", name, "--preset", "any"])
    assert "not allowed with" in capsys.readouterr().err
