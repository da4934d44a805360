"""Tversky, Dice and Jaccard loss against float64 and against Keras."""

import keras
import numpy as np
import pytest

import keras_rmi
from reference import overlap, scenes
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

LOSSES = {
    "tversky": (keras_rmi.tversky_loss, overlap.tversky_loss),
    "dice": (keras_rmi.dice_loss, overlap.dice_loss),
    "jaccard": (keras_rmi.jaccard_loss, overlap.jaccard_loss),
}
CLASSES = (keras_rmi.TverskyLoss, keras_rmi.DiceLoss, keras_rmi.JaccardLoss)
NAMES = ("noisy", "absent noisy", "four pixels")
every_loss = pytest.mark.parametrize("name", LOSSES)


def batch(num_classes=3, void=255):
    """Three images with a void band; the second lacks the last class."""
    labels, logits = scenes.stacked_scenes(NAMES, 14, 11, num_classes)
    labels[:, 5:8, 1:5] = void
    return labels, logits


def assert_matches_reference(
    name, y_true, y_pred, mode=DEFAULT_MODE, **options
):
    function, reference = LOSSES[name]
    value, gradient = value_and_gradient(
        lambda x: function(y_true, x, **options), y_pred, mode
    )
    expected, slope = reference(y_true, y_pred, **options)
    assert value.dtype == "float32"
    assert_value(value, expected)
    assert_gradient(gradient, slope)


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "sigmoid"},
        {"classes": "all", "smooth": 2.0},
        {"classes": "all"},
        {"class_weights": [0.3, 0.0, 2.0]},
        {"ignore_class": (0, 255)},
        {"from_logits": False},
    ],
    ids=str,
)
def test_every_option_matches_float64(options):
    labels, y_pred = batch()
    options = {"from_logits": True, "ignore_class": 255, **options}
    if not options["from_logits"]:
        y_pred = activate(y_pred.astype("float64"), "softmax")[0]
        y_pred = y_pred.astype("float32")
    assert_matches_reference("tversky", labels, y_pred, **options)


@every_loss
def test_every_loss_matches_float64(name):
    labels, logits = batch()
    options = {"from_logits": True, "ignore_class": 255, "smooth": 0.5}
    assert_matches_reference(name, labels, logits, **options)


def test_every_mode_matches_float64(mode):
    labels, logits = batch()
    options = {"from_logits": True, "ignore_class": 255}
    assert_matches_reference("tversky", labels, logits, mode, **options)


@pytest.mark.parametrize("weights", [(0.2, 0.8), (1.0, 0.0), (2, 3)])
def test_weights_of_false_positives_and_negatives_match_float64(weights):
    labels, logits = batch()
    assert_matches_reference(
        "tversky",
        labels,
        logits,
        alpha=weights[0],
        beta=weights[1],
        from_logits=True,
        ignore_class=255,
    )


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_one_channel_matches_float64(smooth):
    mask, logits = batch(num_classes=1)
    assert_matches_reference(
        "jaccard",
        mask,
        logits,
        activation="sigmoid",
        from_logits=True,
        ignore_class=255,
        classes="all",
        smooth=smooth,
    )


@pytest.mark.parametrize("smooth", [0.0, 3.0])
def test_soft_labels_and_pixel_weights_match_float64(smooth):
    _, logits = batch()
    rng = np.random.default_rng(5)
    weights = rng.random(logits.shape[:3], "float32")
    weights[:, 3:5] = 0.0
    assert_matches_reference(
        "dice",
        rng.random(logits.shape, "float32"),
        logits,
        from_logits=True,
        sample_weight=weights,
        smooth=smooth,
    )


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_reference_gradient_is_the_derivative(activation):
    labels, logits = batch()

    def loss(x):
        return overlap.tversky_loss(
            labels,
            x,
            alpha=0.3,
            beta=0.9,
            smooth=0.5,
            classes="all",
            activation=activation,
            from_logits=True,
            ignore_class=255,
            class_weights=[1.0, 0.5, 2.0],
        )

    gradient = loss(logits)[1]
    positions, slopes = central_difference(lambda x: loss(x)[0].sum(), logits)
    np.testing.assert_allclose(
        gradient[positions], slopes, rtol=1e-5, atol=1e-9
    )


def valid_batch(absent):
    """Labels without void, as ids and one-hot, and probabilities."""
    labels, logits = scenes.stacked_scenes(("noisy",) * 2, 14, 11)
    assert 2 not in labels
    if not absent:
        labels[:, :2, :5] = 2
    p = activate(logits.astype("float64"), "softmax")[0].astype("float32")
    return labels, np.eye(3, dtype="float32")[labels], p


with_keras = pytest.mark.parametrize(
    ("absent", "classes"), [(False, "present"), (False, "all"), (True, "all")]
)


@with_keras
def test_dice_equals_keras_where_all_is_valid(absent, classes):
    labels, dense, p = valid_batch(absent)
    theirs = keras.losses.Dice(axis=(1, 2), reduction=None)(dense, p)
    assert theirs.shape == (2, 3)
    assert_value(
        to_numpy(keras_rmi.DiceLoss(classes=classes)(labels, p)),
        to_numpy(keras.ops.mean(theirs)),
        SAME,
    )


@with_keras
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.2, 0.9)])
def test_tversky_equals_keras_with_the_weights_exchanged(
    alpha, beta, absent, classes
):
    labels, dense, p = valid_batch(absent)
    theirs = keras.losses.Tversky(alpha=beta, beta=alpha, axis=(1, 2))
    mine = keras_rmi.TverskyLoss(alpha, beta, classes=classes)
    assert_value(
        to_numpy(mine(labels, p)),
        to_numpy(keras.ops.mean(theirs(dense, p))),
        SAME,
    )


def test_alpha_weighs_false_positives():
    mask = np.zeros((2, 2, 4), "uint8")
    mask[:, 0] = 1
    p = np.zeros((2, 2, 4, 1), "float32")
    p[0, :2] = 1.0
    p[1, :1, :2] = 1.0
    # All of the mask and as much again; half of the mask.
    values = keras_rmi.tversky_loss(
        mask, p, alpha=3.0, beta=1.0, activation="sigmoid"
    )
    assert_value(to_numpy(values), np.array([1 - 4 / 16, 1 - 2 / 4]))


@pytest.mark.parametrize(
    ("name", "expected"), [("dice", 1 - 8 / 12), ("jaccard", 1 - 4 / 8)]
)
def test_certain_predictions_have_the_value_of_the_metric(name, expected):
    mask = np.zeros((1, 2, 4), "uint8")
    mask[:, 0] = 1
    value = LOSSES[name][0](
        mask, np.ones((1, 2, 4, 1), "float32"), activation="sigmoid"
    )
    assert_value(to_numpy(value), np.array([expected]))


def test_perfect_and_saturated_predictions_are_finite():
    labels, _ = batch(void=2)
    perfect = np.float32(2e4 * np.eye(3)[labels] - 1e4)
    logits = np.concatenate([perfect, -perfect])
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.dice_loss(
            np.concatenate([labels, labels]), x, from_logits=True
        ),
        logits,
    )
    assert_finite(value, gradient)
    assert np.all(np.abs(value[:3]) <= SAME)
    assert np.all(value[3:] > 0.9)


def test_an_absent_class_is_left_out():
    labels, logits = batch(void=0)
    function = keras_rmi.jaccard_loss
    options = {"from_logits": True, "activation": "sigmoid"}
    value, gradient = value_and_gradient(
        lambda x: function(labels, x, **options), logits
    )
    assert not gradient[1, ..., 2].any()
    assert gradient[2, ..., 2].any()
    two = to_numpy(function(labels[1:2], logits[1:2, ..., :2], **options))
    assert_value(value[1:2], two, SAME)


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_an_absent_class_of_all_costs_its_false_positives(smooth):
    mask = np.zeros((1, 4, 4), "uint8")
    logits = np.full((1, 4, 4, 1), -1.0, "float32")
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.jaccard_loss(
            mask,
            x,
            smooth=smooth,
            classes="all",
            activation="sigmoid",
            from_logits=True,
        ),
        logits,
    )
    area = 16 / (1 + np.e)
    assert_value(value, np.array([1 - smooth / (smooth + area)]))
    assert np.all(gradient > 0) if smooth else not gradient.any()


def test_an_image_without_any_class_adds_nothing():
    mask = np.zeros((1, 4, 4), "uint8")
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.dice_loss(
            mask, x, activation="sigmoid", from_logits=True
        ),
        np.ones((1, 4, 4, 1), "float32"),
    )
    assert value == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("loss", CLASSES)
def test_one_channel_needs_sigmoid(loss):
    labels, logits = batch(num_classes=1)
    with pytest.raises(ValueError, match=r"`activation`: expected 'sigmoid'"):
        loss()(labels, logits)


WRONG = [
    ("smooth", -1, ValueError),
    ("smooth", "1", TypeError),
    ("classes", "absent", ValueError),
    ("classes", None, ValueError),
    ("activation", "relu", ValueError),
    ("from_logits", 1, TypeError),
    ("ignore_class", 2.5, TypeError),
    ("class_weights", [1, -1, 1], ValueError),
    ("axis", 2, ValueError),
]


@pytest.mark.parametrize(("argument", "value", "error"), WRONG)
@pytest.mark.parametrize("loss", CLASSES)
def test_a_wrong_option_is_refused(loss, argument, value, error):
    with pytest.raises(error, match=f"^Invalid `{argument}`: expected"):
        loss(**{argument: value})


@pytest.mark.parametrize("argument", ["alpha", "beta"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_weights_of_errors_are_finite_and_not_negative(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`.*={value}$"):
        keras_rmi.TverskyLoss(**{argument: value})
