"""Cross entropies against float64, against Keras and against RMI's part."""

import keras
import numpy as np
import pytest

import keras_rmi
from reference import scenes
from reference.crossentropy import crossentropy
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

FUNCTIONS = {
    "sigmoid": keras_rmi.sigmoid_crossentropy,
    "softmax": keras_rmi.softmax_crossentropy,
}
CLASSES = {
    "sigmoid": keras_rmi.SigmoidCrossentropy,
    "softmax": keras_rmi.SoftmaxCrossentropy,
}
both = pytest.mark.parametrize("activation", FUNCTIONS)


def batch(num_classes=3, void=255):
    """Two images with a void band: labels (2, H, W), logits (2, H, W, C)."""
    names = ("noisy", "upsampled x8")
    labels, logits = scenes.stacked_scenes(names, 14, 11, num_classes)
    labels[:, 6:9, 2:8] = void
    return labels, logits


def assert_matches_reference(
    activation, y_true, y_pred, mode=DEFAULT_MODE, **options
):
    function = FUNCTIONS[activation]
    value, gradient = value_and_gradient(
        lambda x: function(y_true, x, **options), y_pred, mode
    )
    expected, slope = crossentropy(
        y_true, y_pred, activation=activation, **options
    )
    assert value.dtype == "float32"
    assert_value(value, expected)
    assert_gradient(gradient, slope)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label_smoothing": 0.2},
        {"label_smoothing": 0.2, "class_weights": [0.3, 0.0, 2.0]},
        {"class_weights": [0.3, 0.0, 2.0]},
        {"ignore_class": (1, 255)},
        {"from_logits": False},
        {
            "from_logits": False,
            "label_smoothing": 0.2,
            "class_weights": [0.3, 0.0, 2.0],
        },
    ],
    ids=str,
)
@both
def test_every_option_matches_float64(activation, options):
    labels, y_pred = batch()
    options = {"ignore_class": 255, "from_logits": True, **options}
    if not options["from_logits"]:
        y_pred = activate(y_pred.astype("float64"), activation)[0]
        y_pred = y_pred.astype("float32")
    assert_matches_reference(activation, labels, y_pred, **options)


@both
def test_every_mode_matches_float64(activation, mode):
    labels, logits = batch()
    assert_matches_reference(
        activation,
        labels,
        logits,
        mode,
        from_logits=True,
        ignore_class=255,
        label_smoothing=0.1,
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_mean_over_classes_matches_float64(label_smoothing):
    labels, logits = batch()
    assert_matches_reference(
        "sigmoid",
        labels,
        logits,
        from_logits=True,
        ignore_class=255,
        class_reduction="mean",
        label_smoothing=label_smoothing,
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_one_channel_matches_float64(label_smoothing):
    labels, logits = batch(num_classes=1)
    assert_matches_reference(
        "sigmoid",
        labels,
        logits,
        from_logits=True,
        ignore_class=255,
        label_smoothing=label_smoothing,
    )


@both
def test_soft_labels_and_pixel_weights_match_float64(activation):
    _, logits = batch()
    rng = np.random.default_rng(5)
    y_true = rng.random(logits.shape, "float32")
    weights = rng.random(logits.shape[:3], "float32")
    weights[:, 3:5] = 0.0
    assert_matches_reference(
        activation,
        y_true,
        logits,
        from_logits=True,
        sample_weight=weights,
        label_smoothing=0.2,
    )


@both
def test_reference_gradient_is_the_derivative(activation):
    labels, logits = batch()

    def loss(x):
        return crossentropy(
            labels,
            x,
            activation=activation,
            from_logits=True,
            ignore_class=255,
            label_smoothing=0.2,
            class_weights=[1.0, 0.5, 2.0],
        )

    gradient = loss(logits)[1]
    positions, slopes = central_difference(lambda x: loss(x)[0].sum(), logits)
    np.testing.assert_allclose(
        gradient[positions], slopes, rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("from_logits", [True, False])
@both
def test_is_the_pixel_term_of_rmi(activation, from_logits):
    labels, y_pred = batch()
    if not from_logits:
        y_pred = np.float32(1 / (1 + np.exp(-y_pred)))
    options = {
        "from_logits": from_logits,
        "ignore_class": 255,
        "class_weights": [1.0, 0.25, 2.0],
    }
    alone = value_and_gradient(
        lambda x: FUNCTIONS[activation](labels, x, **options), y_pred
    )
    part = value_and_gradient(
        lambda x: keras_rmi.rmi_loss(
            labels, x, rmi_weight=0.0, activation=activation, **options
        ),
        y_pred,
    )
    for mine, other in zip(alone, part):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("from_logits", [True, False])
@both
def test_equals_keras_where_all_is_valid(
    activation, from_logits, label_smoothing
):
    labels, y_pred = batch(void=2)
    if not from_logits:
        y_pred = activate(y_pred.astype("float64"), activation)[0]
        y_pred = y_pred.astype("float32")
    options = {"from_logits": from_logits, "label_smoothing": label_smoothing}
    if activation == "sigmoid":
        theirs = keras.losses.BinaryCrossentropy(**options)
        mine = keras_rmi.SigmoidCrossentropy(class_reduction="mean", **options)
    else:
        theirs = keras.losses.CategoricalCrossentropy(**options)
        mine = keras_rmi.SoftmaxCrossentropy(**options)
    dense = np.eye(3, dtype="float32")[labels]
    assert_value(
        to_numpy(mine(labels, y_pred)), to_numpy(theirs(dense, y_pred)), SAME
    )


@pytest.mark.parametrize("dense", [True, False])
@both
def test_smoothing_leaves_void_without_gradient(activation, dense):
    labels, logits = batch()
    y_true = labels
    if dense:
        y_true = (labels[..., None] == np.arange(3)).astype("float32")
    _, gradient = value_and_gradient(
        lambda x: FUNCTIONS[activation](
            y_true,
            x,
            from_logits=True,
            ignore_class=255,
            label_smoothing=0.3,
        ),
        logits,
    )
    assert not gradient[labels == 255].any()
    assert gradient[labels != 255].all()


@both
def test_smoothing_keeps_confident_logits_finite(activation):
    labels, _ = batch(void=2)
    logits = np.float32(2e4 * np.eye(3)[labels] - 1e4)
    options = {"from_logits": True, "label_smoothing": 0.2}
    value, gradient = value_and_gradient(
        lambda x: FUNCTIONS[activation](labels, x, **options), logits
    )
    expected, _ = crossentropy(labels, logits, activation=activation, **options)
    assert_finite(value, gradient)
    assert_value(value, expected)


@both
def test_all_uniform_predictions_have_the_same_value(activation):
    labels, logits = batch()
    options = {"from_logits": True, "ignore_class": 255}
    value = to_numpy(FUNCTIONS[activation](labels, 0 * logits, **options))
    entropy = 3 * np.log(2) if activation == "sigmoid" else np.log(3)
    assert_value(value, np.full(2, entropy))


def test_softmax_crossentropy_needs_two_channels():
    labels, logits = batch(num_classes=1)
    with pytest.raises(ValueError, match=r"`activation`.*one channel.*Sigmoid"):
        keras_rmi.softmax_crossentropy(labels, logits)


@pytest.mark.parametrize("value", [-0.1, 1.0, 1, float("nan")])
@both
def test_label_smoothing_lies_in_the_half_open_unit_interval(activation, value):
    expected = r"`label_smoothing`: expected a number in \[0.0, 1.0\)\..*"
    with pytest.raises(ValueError, match=expected + f"={value}$"):
        CLASSES[activation](label_smoothing=value)


@pytest.mark.parametrize("value", ["0.1", None, True])
@both
def test_label_smoothing_is_a_number(activation, value):
    with pytest.raises(TypeError, match=f"`label_smoothing`.*={value!r}$"):
        CLASSES[activation](label_smoothing=value)


@pytest.mark.parametrize("value", ["none", None, "average"])
def test_class_reduction_is_sum_or_mean(value):
    with pytest.raises(ValueError, match=f"`class_reduction`.*={value!r}$"):
        keras_rmi.SigmoidCrossentropy(class_reduction=value)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("from_logits", 1, TypeError),
        ("ignore_class", 2.5, TypeError),
        ("class_weights", [1, -1, 1], ValueError),
        ("axis", 2, ValueError),
    ],
)
@both
def test_a_wrong_common_option_is_refused(activation, argument, value, error):
    with pytest.raises(error, match=f"`{argument}`"):
        CLASSES[activation](**{argument: value})
