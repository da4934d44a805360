"""Options, predictions and reductions of the loss, against float64."""

import numpy as np
import pytest
from keras import ops

import keras_rmi
from keras_rmi.ops import predictions
from reference import rmi, scenes
from reference.pixelwise import activate
from support import (
    DEFAULT_MODE,
    HALF,
    assert_finite,
    assert_gradient,
    assert_value,
    to_numpy,
    value_and_gradient,
)

NAMES = ("noisy", "upsampled x8")


def batch(num_classes=3, void=255):
    """Two images with a void band: labels (2, H, W), logits (2, H, W, C)."""
    labels, logits = scenes.stacked_scenes(NAMES, 26, 23, num_classes)
    labels[:, 6:9, 2:17] = void
    return labels, logits


def assert_matches_reference(y_true, y_pred, mode=DEFAULT_MODE, **options):
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.rmi_loss(y_true, x, **options), y_pred, mode
    )
    expected, slope = rmi.rmi_loss(y_true, y_pred, **options)
    assert value.dtype == "float32"
    assert_value(value, expected)
    assert_gradient(gradient, slope)


@pytest.mark.parametrize(
    "options",
    [
        {"radius": 1},
        {"radius": 5, "pool_size": 2, "epsilon": 1e-2},
        {"radius": (2, 4), "pool_size": (3, 1)},
        {"pooling": "max"},
        {"pooling": "max", "pool_size": (2, 4)},
        {"pooling": "interpolate"},
        {"pooling": "interpolate", "pool_size": (1, 4)},
        {"pooling": None, "pool_size": 7},
        {"pool_size": 1},
        {"pool_size": 4},
        {"rmi_weight": 0.0},
        {"rmi_weight": 0.9},
        {"rmi_weight": 1.0},
        {"class_weights": [0.3, 0.0, 2.0]},
        {"activation": "softmax", "class_weights": [0.3, 0.0, 2.0]},
    ],
    ids=str,
)
def test_every_option_matches_float64(options):
    labels, logits = batch()
    options = {"radius": 2, "from_logits": True, **options}
    assert_matches_reference(labels, logits, ignore_class=255, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"activation": "softmax", "pooling": "max", "radius": 1}],
    ids=str,
)
def test_every_mode_matches_float64(options, mode):
    labels, logits = batch()
    assert_matches_reference(
        labels, logits, mode, from_logits=True, ignore_class=255, **options
    )


@pytest.mark.parametrize("options", [{}, {"rmi_weight": 0.0}], ids=str)
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_probabilities_match_float64(activation, options):
    labels, logits = batch()
    y_pred = activate(logits.astype("float64"), activation)[0]
    assert_matches_reference(
        labels,
        y_pred.astype("float32"),
        radius=2,
        activation=activation,
        ignore_class=255,
        **options,
    )


def test_one_channel_matches_float64():
    labels, logits = batch(num_classes=1)
    assert_matches_reference(labels, logits, from_logits=True, ignore_class=255)


def test_rmi_alone_does_not_compute_the_pixel_term(monkeypatch):
    def computed(*arguments):
        raise AssertionError("computed the pixel term")

    monkeypatch.setattr(predictions.SigmoidLogits, "pixel_loss", computed)
    labels, logits = batch()
    options = {"from_logits": True, "rmi_weight": 1.0}
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.rmi_loss(labels, x, **options), logits
    )
    assert_finite(value, gradient)
    with pytest.raises(AssertionError, match="computed the pixel term"):
        keras_rmi.rmi_loss(labels, logits, from_logits=True)


def test_pixel_term_alone_does_not_compute_rmi():
    labels, _ = batch()
    # The square of these leaves the range of float32; cross entropy clips.
    y_pred = np.full((*labels.shape, 3), 1e30, "float32")
    y_pred[:, ::2] *= 2
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.rmi_loss(labels, x, rmi_weight=0.0), y_pred
    )
    assert_finite(value, gradient)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_predictions_are_computed_in_float32(dtype):
    labels, logits = batch()
    # The same numbers, exactly, in both dtypes.
    logits = np.round(logits * 8) / 8
    options = {"from_logits": True, "ignore_class": 255, "radius": 1}
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.rmi_loss(labels, ops.cast(x, dtype), **options),
        logits,
    )
    expected, slope = rmi.rmi_loss(labels, logits, **options)
    assert value.dtype == "float32"
    assert_value(value, expected)
    # The gradient itself is stored in half precision.
    error = np.linalg.norm(gradient - slope) / np.linalg.norm(slope)
    assert error <= HALF[dtype]


def test_a_strided_prediction_is_read_in_its_own_order():
    labels, logits = batch()
    options = {"from_logits": True, "ignore_class": 255, "radius": 1}
    expected, slope = rmi.rmi_loss(labels, logits, **options)
    first = np.moveaxis(logits, -1, 1)
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.rmi_loss(labels, ops.moveaxis(x, 1, -1), **options),
        np.ascontiguousarray(first),
    )
    assert_value(value, expected)
    assert_gradient(np.moveaxis(gradient, 1, -1), slope)


@pytest.mark.parametrize("dense", [False, True])
def test_channels_first_equals_channels_last(dense):
    labels, logits = batch(void=2)
    y_true, moved = labels, labels
    if dense:
        y_true = np.eye(3, dtype="float32")[labels]
        moved = np.moveaxis(y_true, -1, 1)
    options = {"from_logits": True, "ignore_class": 2, "radius": 1}
    expected, slope = rmi.rmi_loss(y_true, logits, **options)
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.rmi_loss(moved, x, axis=1, **options),
        np.ascontiguousarray(np.moveaxis(logits, -1, 1)),
    )
    assert_value(value, expected)
    assert_gradient(np.moveaxis(gradient, 1, -1), slope)


@pytest.mark.parametrize("weights", [None, [0.5, 3.0]])
@pytest.mark.parametrize(
    ("reduction", "reduce"),
    [
        (None, lambda values, weights: values * weights),
        ("none", lambda values, weights: values * weights),
        ("sum", lambda values, weights: np.sum(values * weights)),
        ("mean", lambda values, weights: np.mean(values * weights)),
        (
            "sum_over_batch_size",
            lambda values, weights: np.mean(values * weights),
        ),
        (
            "mean_with_sample_weight",
            lambda values, weights: np.average(values, weights=weights),
        ),
    ],
)
def test_reductions_keep_their_meaning(reduction, reduce, weights):
    labels, logits = batch()
    options = {"from_logits": True, "ignore_class": 255, "rmi_weight": 0.0}
    values, _ = rmi.rmi_loss(labels, logits, **options)
    loss = keras_rmi.RMILoss(reduction=reduction, **options)
    expected = reduce(values, np.ones(2) if weights is None else weights)
    if weights is not None:
        weights = np.array(weights, "float32")
    assert_value(to_numpy(loss(labels, logits, weights)), expected)


def test_a_pixel_weight_does_not_weigh_its_image():
    labels, logits = batch()
    weights = np.ones(labels.shape, "float32")
    weights[1] = 7.0
    loss = keras_rmi.RMILoss(
        from_logits=True,
        ignore_class=255,
        rmi_weight=0.0,
        reduction="mean_with_sample_weight",
    )
    assert_value(
        to_numpy(loss(labels, logits, weights)), to_numpy(loss(labels, logits))
    )
