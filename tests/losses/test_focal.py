"""Focal loss against float64, against Keras and against cross entropy."""

import keras
import numpy as np
import pytest

import keras_rmi
from reference import scenes
from reference.focal import focal_loss
from reference.pixelwise import activate
from support import (
    DEFAULT_MODE,
    SAME,
    assert_finite,
    assert_gradient,
    assert_value,
    central_difference,
    to_numpy,
    value_and_gradient,
)

both = pytest.mark.parametrize("activation", ["sigmoid", "softmax"])


def batch(num_classes=3, void=255):
    """Two images with a void band: labels (2, H, W), logits (2, H, W, C)."""
    names = ("noisy", "upsampled x8")
    labels, logits = scenes.stacked_scenes(names, 14, 11, num_classes)
    labels[:, 6:9, 2:8] = void
    return labels, logits


def as_probabilities(logits, activation):
    p = activate(logits.astype("float64"), activation)[0]
    return p.astype("float32")


def assert_matches_reference(y_true, y_pred, mode=DEFAULT_MODE, **options):
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.focal_loss(y_true, x, **options), y_pred, mode
    )
    expected, slope = focal_loss(y_true, y_pred, **options)
    assert value.dtype == "float32"
    assert_value(value, expected)
    assert_gradient(gradient, slope)


@pytest.mark.parametrize(
    "options",
    [
        {"gamma": 0.5},
        {"gamma": 0, "alpha": 0.75},
        {"gamma": 3.0, "alpha": 0.25},
        {"class_weights": [0.3, 0.0, 2.0]},
        {"ignore_class": (1, 255)},
        {"from_logits": False},
        {"from_logits": False, "gamma": 0.5, "alpha": 0.25},
    ],
    ids=str,
)
@both
def test_every_option_matches_float64(activation, options):
    labels, y_pred = batch()
    options = {"ignore_class": 255, "from_logits": True, **options}
    if not options["from_logits"]:
        y_pred = as_probabilities(y_pred, activation)
    assert_matches_reference(labels, y_pred, activation=activation, **options)


@both
def test_every_mode_matches_float64(activation, mode):
    labels, logits = batch()
    options = {"from_logits": True, "ignore_class": 255}
    assert_matches_reference(
        labels, logits, mode, activation=activation, **options
    )


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_one_channel_matches_float64(alpha):
    mask, logits = batch(num_classes=1)
    assert_matches_reference(
        mask,
        logits,
        alpha=alpha,
        activation="sigmoid",
        from_logits=True,
        ignore_class=255,
    )


@both
def test_soft_labels_and_pixel_weights_match_float64(activation):
    _, logits = batch()
    rng = np.random.default_rng(5)
    weights = rng.random(logits.shape[:3], "float32")
    weights[:, 3:5] = 0.0
    assert_matches_reference(
        rng.random(logits.shape, "float32"),
        logits,
        activation=activation,
        from_logits=True,
        sample_weight=weights,
    )


@pytest.mark.parametrize("from_logits", [True, False])
@both
def test_reference_gradient_is_the_derivative(activation, from_logits):
    labels, y_pred = batch()
    if not from_logits:
        y_pred = 0.1 + 0.8 * as_probabilities(y_pred, "sigmoid")

    def loss(x):
        return focal_loss(
            labels,
            x,
            gamma=1.5,
            alpha=0.3,
            activation=activation,
            from_logits=from_logits,
            ignore_class=255,
            class_weights=[1.0, 0.5, 2.0],
        )

    gradient = loss(y_pred)[1]
    positions, slopes = central_difference(lambda x: loss(x)[0].sum(), y_pred)
    np.testing.assert_allclose(
        gradient[positions], slopes, rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("from_logits", [True, False])
@both
def test_equals_keras_where_all_is_valid(activation, from_logits, alpha):
    labels, y_pred = batch(void=2)
    if not from_logits:
        y_pred = as_probabilities(y_pred, activation)
    options = {"gamma": 1.5, "from_logits": from_logits}
    if activation == "softmax":
        theirs = keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0 if alpha is None else alpha, **options
        )
    else:
        theirs = keras.losses.BinaryFocalCrossentropy(
            apply_class_balancing=alpha is not None,
            alpha=alpha or 0.5,
            **options,
        )
    mine = keras_rmi.FocalLoss(alpha=alpha, activation=activation, **options)
    dense = np.eye(3, dtype="float32")[labels]
    assert_value(
        to_numpy(mine(labels, y_pred)), to_numpy(theirs(dense, y_pred)), SAME
    )


@both
def test_without_gamma_it_is_cross_entropy(activation):
    labels, logits = batch()
    options = {"from_logits": True, "ignore_class": 255}
    if activation == "softmax":
        other = keras_rmi.SoftmaxCrossentropy(reduction=None, **options)
    else:
        other = keras_rmi.SigmoidCrossentropy(
            reduction=None, class_reduction="mean", **options
        )
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.focal_loss(
            labels, x, gamma=0, activation=activation, **options
        ),
        logits,
    )
    expected, slope = value_and_gradient(lambda x: other(labels, x), logits)
    assert_value(value, expected, SAME)
    assert_gradient(gradient, slope)


@pytest.mark.parametrize(
    ("gamma", "dense"), [(0.0, False), (0.5, True), (2.0, False)]
)
@both
def test_certain_logits_are_finite_right_or_wrong(activation, dense, gamma):
    labels = np.zeros((2, 1, 1), "int32")
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], "float32")[:, None, None]
    y_true = np.eye(2, dtype="float32")[labels] if dense else labels
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.focal_loss(
            y_true, x, gamma=gamma, activation=activation, from_logits=True
        ),
        logits,
    )
    assert_finite(value, gradient)
    # Softmax sees the difference of the logits, sigmoid each of two.
    assert_value(value, [0.0, 2e4 if activation == "softmax" else 1e4])
    slope = 1.0 if activation == "softmax" else 0.5
    expected = np.array([[0.0, 0.0], [-slope, slope]])
    np.testing.assert_allclose(gradient[:, 0, 0], expected, rtol=1e-6)


@both
def test_easy_pixels_fade(activation):
    labels = np.zeros((1, 1, 1), "int32")
    logits = np.array([[[[3.0, -3.0]]]], "float32")
    values = [
        to_numpy(
            keras_rmi.focal_loss(
                labels,
                logits,
                gamma=gamma,
                activation=activation,
                from_logits=True,
            )
        )
        for gamma in (0, 1, 2)
    ]
    assert values[0] > 10 * values[1] > 100 * values[2] > 0


def test_one_channel_needs_sigmoid():
    labels, logits = batch(num_classes=1)
    with pytest.raises(ValueError, match=r"`activation`: expected 'sigmoid'"):
        keras_rmi.focal_loss(labels, logits)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("gamma", -1.0, ValueError),
        ("gamma", None, TypeError),
        ("alpha", 1.5, ValueError),
        ("alpha", [0.25, 0.75], TypeError),
        ("activation", "relu", ValueError),
        ("from_logits", 1, TypeError),
        ("ignore_class", 2.5, TypeError),
        ("class_weights", [1, -1, 1], ValueError),
        ("axis", 2, ValueError),
    ],
)
def test_a_wrong_option_is_refused(argument, value, error):
    with pytest.raises(error, match=f"^Invalid `{argument}`: expected"):
        keras_rmi.FocalLoss(**{argument: value})
