"""Forms of labels, void pixels and weights of the loss, against float64."""

import numpy as np
import pytest

import keras_rmi
from reference import rmi, scenes
from support import (
    DEFAULT_MODE,
    SAME,
    assert_finite,
    assert_gradient,
    assert_value,
    one_minus_cosine,
    value_and_gradient,
)

# Labels do not care about the region; a small one compiles fast.
LIGHT = {"from_logits": True, "radius": 1, "pooling": None}


def batch(num_classes=3):
    """Labels (2, H, W) without void, logits (2, H, W, C)."""
    names = ("noisy", "upsampled x8")
    return scenes.stacked_scenes(names, 26, 23, num_classes)


def measure(y_true, logits, mode=DEFAULT_MODE, **options):
    options = LIGHT | options
    return value_and_gradient(
        lambda x: keras_rmi.rmi_loss(y_true, x, **options), logits, mode
    )


def assert_same(actual, expected):
    """Two results of the library that must not differ."""
    assert_value(actual[0], expected[0], SAME)
    assert one_minus_cosine(actual[1], expected[1]) <= SAME**2
    np.testing.assert_allclose(actual[1], expected[1], atol=1e-5, rtol=1e-4)


def assert_matches_reference(y_true, logits, mode=DEFAULT_MODE, **options):
    actual = measure(y_true, logits, mode, **options)
    expected = rmi.rmi_loss(y_true, logits, **(LIGHT | options))
    assert_value(actual[0], expected[0])
    assert_gradient(actual[1], expected[1])


def one_hot(labels, dtype="float32", num_classes=3):
    """Zero rows for ids out of range."""
    return (labels[..., None] == np.arange(num_classes)).astype(dtype)


FORMS = {
    "trailing axis": lambda labels: labels[..., None],
    "uint8": lambda labels: labels.astype("uint8"),
    "int64": lambda labels: labels.astype("int64"),
    "float32": lambda labels: labels.astype("float32"),
    "float64": lambda labels: labels.astype("float64")[..., None],
    "one-hot": one_hot,
    "one-hot uint8": lambda labels: one_hot(labels, "uint8"),
    "one-hot bool": lambda labels: one_hot(labels, "bool"),
}


@pytest.mark.parametrize("form", ["float64", "one-hot", "one-hot bool"])
def test_class_ids_and_one_hot_say_the_same(form):
    labels, logits = batch()
    labels[:, 3:6, 4:20] = 255
    options = {"ignore_class": (0, 255)}
    assert_same(
        measure(FORMS[form](labels), logits, **options),
        measure(labels, logits, **options),
    )


@pytest.mark.parametrize(
    ("ignore_class", "activation"),
    [
        (None, "sigmoid"),
        (255, "softmax"),
        (1, "softmax"),
        ((0, 255), "sigmoid"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_all_forms_have_the_same_pixel_term(form, ignore_class, activation):
    labels, logits = batch()
    if ignore_class is not None:
        labels[:, 3:6, 4:20] = np.max(ignore_class)
    options = {
        "ignore_class": ignore_class,
        "activation": activation,
        "rmi_weight": 0.0,
    }
    assert_matches_reference(FORMS[form](labels), logits, **options)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_negative_ids_can_be_ignored_in_any_signed_dtype(dtype):
    labels, logits = batch()
    labels[:, 3:6, 4:20] = -1
    options = {"ignore_class": -1, "rmi_weight": 0.0}
    assert_matches_reference(labels.astype(dtype), logits, **options)


MASKS = {
    "trailing axis": lambda mask: mask[..., None],
    "uint8": lambda mask: mask.astype("uint8"),
    "float32": lambda mask: mask.astype("float32")[..., None],
    "bool": lambda mask: mask == 1,
}


@pytest.mark.parametrize("form", MASKS)
def test_all_forms_of_a_mask_say_the_same(form):
    mask, logits = batch(num_classes=1)
    expected = rmi.rmi_loss(mask, logits, **(LIGHT | {"rmi_weight": 0.0}))
    value, gradient = measure(MASKS[form](mask), logits, rmi_weight=0.0)
    assert_value(value, expected[0])
    assert_gradient(gradient, expected[1])


def test_soft_and_multi_label_targets_match_float64():
    _, logits = batch()
    y_true = np.random.default_rng(5).random(logits.shape, "float32")
    assert_matches_reference(y_true, logits, pooling="avg")
    y_true = np.round(y_true)
    # Some of the rows are all zero, hence void.
    assert_matches_reference(y_true, logits, pooling="avg", ignore_class=255)


@pytest.mark.parametrize(
    ("void", "ignore_class"),
    [(255, 255), (7, (3, 7)), (0, (0, 255))],
)
def test_void_matches_float64(void, ignore_class):
    labels, logits = batch()
    labels[0, 4:7, 3:19] = void
    labels[1, :, :2] = void
    assert_matches_reference(labels, logits, ignore_class=ignore_class)


@pytest.mark.parametrize("pooling", ["avg", "max", "interpolate", None])
def test_void_pixels_get_no_gradient_and_have_no_say(pooling):
    labels, logits = batch()
    labels[:, 4:7, 3:19] = 255
    options = LIGHT | {"ignore_class": 255, "pooling": pooling}

    def loss(x):
        return keras_rmi.rmi_loss(labels, x, **options)

    value, gradient = value_and_gradient(loss, logits)
    assert not gradient[labels == 255].any()
    changed = np.where((labels == 255)[..., None], 30.0, logits)
    changed = value_and_gradient(loss, changed.astype("float32"))
    assert_same(changed, (value, gradient))


@pytest.mark.parametrize(
    ("ids", "ignore_class"), [((3, -1), None), ((-100, 255), 17)]
)
def test_ids_out_of_range_are_void(ids, ignore_class):
    labels, logits = batch()
    labels[:, 4:7, 3:12] = ids[0]
    labels[:, 9:15, 3:12] = ids[1]
    assert_matches_reference(labels, logits, ignore_class=ignore_class)


def test_ids_out_of_range_of_a_mask_are_void():
    mask, logits = batch(num_classes=1)
    mask[:, 4:7, 3:12] = 2
    mask[:, 9:15, 3:12] = -1
    assert_matches_reference(mask, logits)


@pytest.mark.parametrize(
    ("dense", "activation"), [(False, "sigmoid"), (True, "softmax")]
)
def test_an_image_that_is_all_void_adds_nothing(dense, activation):
    labels, logits = batch()
    labels[0] = 255
    y_true = one_hot(labels) if dense else labels
    options = {"ignore_class": 255, "activation": activation}
    value, gradient = measure(y_true, logits, **options)
    expected, slope = rmi.rmi_loss(y_true, logits, **(LIGHT | options))
    assert_finite(value, gradient)
    assert abs(value[0]) <= SAME
    assert not gradient[0].any()
    assert_value(value, expected)
    assert_gradient(gradient, slope)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_class_weights_scale_the_share_of_each_class(num_classes):
    labels, logits = batch(num_classes)
    weights = [2.0, 0.5, 0.0][:num_classes]
    assert_matches_reference(labels, logits, class_weights=weights)


def test_a_class_of_weight_zero_gets_no_gradient():
    labels, logits = batch()
    _, gradient = measure(labels, logits, class_weights=[1.0, 0.0, 1.0])
    assert not gradient[..., 1].any()
    assert gradient[..., 0].any()


@pytest.mark.parametrize(
    ("form", "activation"),
    [
        ("sparse", "softmax"),
        ("dense", "sigmoid"),
        ("mask", "sigmoid"),
    ],
)
def test_pixel_weights_match_float64(form, activation):
    labels, logits = batch(1 if form == "mask" else 3)
    weights = np.random.default_rng(6).random(labels.shape, "float32")
    weights[:, 8:11, 5:] = 0.0
    labels[:, :2] = 255
    y_true = one_hot(labels) if form == "dense" else labels
    assert_matches_reference(
        y_true,
        logits,
        sample_weight=weights,
        ignore_class=255,
        activation=activation,
    )


def test_a_pixel_of_weight_zero_is_void():
    labels, logits = batch()
    weights = np.ones(labels.shape, "float32")
    weights[:, 4:7, 3:19] = 0.0
    void = np.where(weights == 0, 255, labels)
    value, gradient = measure(labels, logits, sample_weight=weights[..., None])
    expected, slope = rmi.rmi_loss(void, logits, ignore_class=255, **LIGHT)
    assert_value(value, expected)
    assert_gradient(gradient, slope)


def test_positive_pixel_weights_do_not_touch_the_statistics():
    labels, logits = batch()
    weights = 0.1 + np.random.default_rng(6).random(labels.shape, "float32")
    options = {"rmi_weight": 1.0}
    value, gradient = measure(labels, logits, sample_weight=weights, **options)
    expected, slope = rmi.rmi_loss(labels, logits, **(LIGHT | options))
    assert_value(value, expected)
    assert_gradient(gradient, slope)


def test_an_image_whose_weights_are_all_zero_adds_nothing():
    labels, logits = batch()
    weights = np.ones(labels.shape, "float32")
    weights[0] = 0.0
    value, gradient = measure(labels, logits, sample_weight=weights)
    assert_finite(value, gradient)
    assert abs(value[0]) <= SAME
    assert not gradient[0].any()


def test_image_weights_multiply_the_values():
    labels, logits = batch()
    weights = np.array([0.0, 2.5], "float32")
    assert_matches_reference(labels, logits, sample_weight=weights)


def test_weights_are_told_apart_where_all_sizes_are_equal():
    labels, logits = scenes.stacked_scenes(["noisy"] * 9, 9, 9)
    logits += np.random.default_rng(8).random(logits.shape, "float32")
    options = LIGHT | {"rmi_weight": 0.0}
    loss = keras_rmi.RMILoss(reduction=None, **options)
    for shape in [(9,), (9, 1), (9, 9, 9), (9, 9, 9, 1)]:
        weights = np.random.default_rng(7).random(shape, "float32")
        expected, _ = rmi.rmi_loss(
            labels, logits, sample_weight=weights, **options
        )
        value, _ = value_and_gradient(
            lambda x, weights=weights: loss(labels, x, weights), logits
        )
        assert_value(value, expected)
