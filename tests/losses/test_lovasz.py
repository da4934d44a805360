"""Lovász losses against their definition in float64."""

import numpy as np
import pytest

import keras_rmi
from keras_rmi import _backend_order
from reference import lovasz, scenes
from reference.pixelwise import activate
from support import (
    BACKEND,
    DEFAULT_MODE,
    MODES,
    SAME,
    assert_finite,
    assert_gradient,
    assert_value,
    central_difference,
    to_numpy,
    value_and_gradient,
)

LOSSES = {
    "softmax": (keras_rmi.lovasz_softmax_loss, lovasz.lovasz_softmax_loss),
    "hinge": (keras_rmi.lovasz_hinge_loss, lovasz.lovasz_hinge_loss),
}
CHANNELS = {"softmax": 3, "hinge": 1}
NAMES = ("noisy", "absent noisy", "four pixels")
both = pytest.mark.parametrize("name", LOSSES)


def batch(num_classes=3, void=255):
    """Three images with a void band; the second lacks the last class."""
    labels, logits = scenes.stacked_scenes(NAMES, 12, 9, num_classes)
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
        {},
        {"classes": "all"},
        {"class_weights": [0.3, 0.0, 2.0]},
        {"ignore_class": (0, 255)},
        {"from_logits": False},
    ],
    ids=str,
)
def test_every_option_of_softmax_matches_float64(options):
    labels, y_pred = batch()
    options = {"from_logits": True, "ignore_class": 255, **options}
    if not options["from_logits"]:
        y_pred = activate(y_pred.astype("float64"), "softmax")[0]
        y_pred = y_pred.astype("float32")
    assert_matches_reference("softmax", labels, y_pred, **options)


@pytest.mark.parametrize("from_logits", [True, False])
def test_hinge_matches_float64(from_logits):
    mask, y_pred = batch(num_classes=1)
    if not from_logits:
        y_pred = activate(y_pred.astype("float64"), "sigmoid")[0]
        y_pred = y_pred.astype("float32")
    options = {"from_logits": from_logits, "ignore_class": 255}
    assert_matches_reference("hinge", mask, y_pred, **options)


@both
def test_every_mode_matches_float64(name, mode):
    labels, logits = batch(CHANNELS[name])
    options = {"from_logits": True, "ignore_class": 255}
    assert_matches_reference(name, labels, logits, mode, **options)


@both
def test_pixel_weights_match_float64(name):
    labels, logits = batch(CHANNELS[name])
    weights = np.random.default_rng(5).random(labels.shape, "float32")
    weights[:, 3:5] = 0.0
    assert_matches_reference(
        name,
        labels,
        logits,
        from_logits=True,
        ignore_class=255,
        sample_weight=weights,
    )


def test_soft_labels_match_float64():
    _, logits = batch()
    y_true = np.random.default_rng(5).random(logits.shape, "float32")
    assert_matches_reference("softmax", y_true, logits, from_logits=True)


@both
def test_reference_gradient_is_the_derivative(name):
    labels, logits = batch(CHANNELS[name])

    def loss(x):
        return LOSSES[name][1](labels, x, from_logits=True, ignore_class=255)

    gradient = loss(logits)[1]
    positions, slopes = central_difference(lambda x: loss(x)[0].sum(), logits)
    np.testing.assert_allclose(
        gradient[positions], slopes, rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_reference_is_an_integral_over_thresholds(seed):
    rng = np.random.default_rng(seed)
    errors, weights = rng.random((2, 40))
    truth = np.float64(rng.random(40) < 0.4)
    weights[:5] = 0.0
    value, _ = lovasz.extension(errors, truth, weights)
    integral = lovasz.choquet_integral(errors, truth, weights)
    assert_value(value, integral, 1e-12)


def test_certain_predictions_have_one_minus_the_iou():
    labels, logits = batch(void=2)
    predicted = logits.argmax(axis=-1)
    certain = np.eye(3, dtype="float32")[predicted]
    value, _ = value_and_gradient(
        lambda x: keras_rmi.lovasz_softmax_loss(labels, x), certain
    )
    expected = [
        np.mean(
            [
                1 - np.sum((y == c) & (p == c)) / np.sum((y == c) | (p == c))
                for c in np.unique(y)
            ]
        )
        for y, p in zip(labels, predicted)
    ]
    assert_value(value, np.array(expected))


@both
def test_certain_logits_are_finite_right_or_wrong(name):
    labels, _ = batch(CHANNELS[name], void=0)
    truth = labels[..., None]
    if name == "softmax":
        truth = np.eye(3)[labels]
    perfect = np.float32(2e4 * truth - 1e4)
    value, gradient = value_and_gradient(
        lambda x: LOSSES[name][0](
            np.concatenate([labels, labels]), x, from_logits=True
        ),
        np.concatenate([perfect, -perfect]),
    )
    assert_finite(value, gradient)
    # Some machines give a probability of 1 - 2^-24 there.
    assert np.all(value[:3] <= np.finfo("float32").eps)
    assert np.all(value[3:] > 0.9)


def test_a_step_of_one_pixel_of_a_million_is_exact():
    labels = np.zeros((1, 1000, 1000), "uint8")
    labels[:, 300:, :] = 1
    p = np.random.default_rng(0).random((1, 1000, 1000, 1), "float32")
    y_pred = np.concatenate([1 - p, p], axis=-1)
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.lovasz_softmax_loss(
            labels, x, class_weights=[0.0, 1.0]
        ),
        y_pred,
    )
    truth, p = labels.ravel().astype("float64"), y_pred[..., 1].ravel()
    order = np.argsort(-np.abs(truth - p), kind="stable")
    inside = truth[order]
    intersection = inside.sum() - np.cumsum(inside)
    union = inside.sum() + np.cumsum(1 - inside)
    steps = np.diff(1 - intersection / union, prepend=0.0)
    errors = np.abs(truth - p)[order].astype("float64")
    assert_value(value, np.array([np.sum(errors * steps)]))
    slopes = np.abs(gradient[..., 1].ravel()[order])
    np.testing.assert_allclose(slopes, steps, rtol=1e-4)


def test_an_absent_class_is_left_out_or_costs_its_largest_error():
    labels = np.zeros((1, 2, 2), "uint8")
    p = np.array([0.1, 0.4, 0.2, 0.3], "float32").reshape(1, 2, 2, 1)
    y_pred = np.concatenate([1 - p, p], axis=-1)
    (first,) = to_numpy(keras_rmi.lovasz_softmax_loss(labels, y_pred))
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.lovasz_softmax_loss(labels, x, classes="all"),
        y_pred,
    )
    assert_value(first, 0.25)
    assert_value(value, np.array([(0.25 + 0.4) / 2]))
    expected = [[0.0, 0.5], [0.0, 0.0]]
    np.testing.assert_array_equal(gradient[0, ..., 1], expected)


def test_an_empty_mask_costs_its_largest_error():
    mask = np.zeros((1, 2, 2), "uint8")
    logits = np.array([-3.0, 0.5, -0.5, 2.0], "float32").reshape(1, 2, 2, 1)
    value, gradient = value_and_gradient(
        lambda x: keras_rmi.lovasz_hinge_loss(mask, x, from_logits=True),
        logits,
    )
    assert_value(value, np.array([3.0]))
    np.testing.assert_array_equal(gradient[0, ..., 0], [[0, 0], [0, 1]])


@both
def test_a_whole_weight_counts_as_so_many_pixels(name):
    labels, logits = batch(CHANNELS[name])
    weights = np.random.default_rng(3).integers(1, 4, labels.shape[-1])
    of_pixels = np.broadcast_to(weights.astype("float32"), labels.shape)
    options = {"from_logits": True, "ignore_class": 255}
    function = LOSSES[name][0]
    repeated, _ = value_and_gradient(
        lambda x: function(labels.repeat(weights, axis=2), x, **options),
        logits.repeat(weights, axis=2),
    )
    weighted, _ = value_and_gradient(
        lambda x: function(labels, x, sample_weight=of_pixels, **options),
        logits,
    )
    assert_value(weighted, repeated, SAME)


def test_each_loss_names_the_other_for_the_wrong_channels():
    with pytest.raises(ValueError, match=r"`activation`.*LovaszHingeLoss"):
        keras_rmi.lovasz_softmax_loss(*batch(1))
    with pytest.raises(ValueError, match=r"one channel.*LovaszSoftmaxLoss"):
        keras_rmi.lovasz_hinge_loss(*batch(3))


@pytest.mark.parametrize("value", ["absent", None, True, ["present"]])
def test_classes_are_present_or_all(value):
    with pytest.raises(ValueError, match=r"`classes`.*'present', 'all'\."):
        keras_rmi.LovaszSoftmaxLoss(classes=value)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("from_logits", 1, TypeError),
        ("ignore_class", 2.5, TypeError),
        ("class_weights", [1, -1, 1], ValueError),
        ("axis", 2, ValueError),
    ],
)
@pytest.mark.parametrize(
    "loss", [keras_rmi.LovaszSoftmaxLoss, keras_rmi.LovaszHingeLoss]
)
def test_a_wrong_common_option_is_refused(loss, argument, value, error):
    with pytest.raises(error, match=f"^Invalid `{argument}`: expected"):
        loss(**{argument: value})


@pytest.mark.skipif(
    MODES != ("eager",), reason=f"on {BACKEND} the steps of a loop are hidden"
)
def test_only_classes_that_are_there_are_sorted(monkeypatch):
    labels, logits = batch(num_classes=9)
    labels[0] = np.where(labels[0] == 255, 255, labels[0] % 2)
    labels[1] = 255
    there = sum(len(np.setdiff1d(image, [255])) for image in labels)
    sorted_planes = []
    falling = _backend_order.falling

    def seen(x):
        sorted_planes.append(len(x))
        return falling(x)

    monkeypatch.setattr(_backend_order, "falling", seen)
    assert_matches_reference(
        "softmax", labels, logits, from_logits=True, ignore_class=255
    )
    assert 2 < there < 18
    assert sum(sorted_planes) == there
