"""Wrong arguments name the argument, what was expected and what came."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_rmi
from support import (
    BACKEND,
    MODES,
    assert_finite,
    to_numpy,
    value_and_gradient,
)

SIZE = (2, 9, 12)
NAN, INFINITY = float("nan"), float("inf")
ARRAY = np.array([1, 2])

PAIR = "an integer >= 1 or a pair (rows, columns) of them"
EXPECTED = {
    "radius": PAIR,
    "pool_size": PAIR,
    "pooling": "one of 'avg', 'max', 'interpolate', None",
    "rmi_weight": "a number in [0.0, 1.0]",
    "activation": "one of 'sigmoid', 'softmax'",
    "from_logits": "True or False",
    "ignore_class": "None, an integer or a tuple of integers",
    "class_weights": "None or a sequence of finite numbers >= 0, one per class",
    "epsilon": "a finite number > 0.0",
    "axis": "-1 (channels last) or 1 (channels first)",
}
WRONG_VALUES = {
    "radius": [0, -1, (0, 3), (3, 0), [3, -2], (1, 2, 3), (3,), []],
    "pool_size": [0, -3, (0, 1), (2, 2, 2), ()],
    "pooling": ["average", "AVG", "", "None", False, 2, ["avg"], ARRAY],
    "rmi_weight": [-0.1, 1.0001, 2, NAN, INFINITY, -INFINITY],
    "activation": ["relu", "Sigmoid", "linear", None, True, keras.ops.sigmoid],
    "class_weights": [[1, -1, 1], [1, NAN, 1], [1, INFINITY, 1], [], ()],
    "epsilon": [0, 0.0, -5e-4, NAN, INFINITY, -INFINITY],
    "axis": [0, 2, -2, 4, -4],
}
WRONG_KINDS = {
    "radius": [3.0, 2.5, True, "3", None, (3, 2.0), (3, True), (3, (1, 2))],
    "pool_size": [1.5, 2.0, False, "2", None, (2, "2"), ARRAY],
    "rmi_weight": ["0.5", None, True, [0.5], ARRAY],
    "from_logits": [1, 0, None, "True", np.bool_(True)],
    "ignore_class": [
        255.0,
        NAN,
        True,
        "255",
        [255.0],
        (255, None),
        ((1, 2), 3),
        {255},
        ARRAY,
    ],
    "class_weights": [
        "balanced",
        "123",
        ["1", "2", "3"],
        1.0,
        {0: 1.0},
        [[1, 1, 1]],
        [1, None, 1],
        np.ones((3, 1)),
    ],
    "epsilon": ["5e-4", None, True, [5e-4]],
    "axis": [None, True, 1.0, -1.0, "channels_first", (1,), ARRAY],
}
WRONG_OPTIONS = [
    # A function's text holds an address, and ids must not change.
    pytest.param(
        argument, value, error, id=f"{argument}-{type(value).__name__}-{i}"
    )
    for error, table in [(ValueError, WRONG_VALUES), (TypeError, WRONG_KINDS)]
    for argument, values in table.items()
    for i, value in enumerate(values)
]


def maps(num_classes=3, size=SIZE):
    """Class ids and logits that nothing is wrong with."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, max(2, num_classes), size).astype("int32")
    logits = rng.standard_normal((*size, num_classes)).astype("float32")
    return labels, logits


@contextlib.contextmanager
def refused(argument, received, *expected, error=ValueError):
    """The error names the argument, what was expected and what came."""
    with pytest.raises(error, match=f"^Invalid `{argument}`: exp") as caught:
        yield
    text = str(caught.value)
    assert text.endswith(f" Received: {argument}={received!r}")
    for part in expected:
        assert part in text


@pytest.mark.parametrize(("argument", "value", "error"), WRONG_OPTIONS)
def test_a_wrong_option_is_refused_at_once(argument, value, error):
    with refused(argument, value, EXPECTED[argument] + ".", error=error):
        keras_rmi.RMILoss(**{argument: value})


@pytest.mark.parametrize("argument", EXPECTED)
def test_the_function_refuses_what_the_class_refuses(argument):
    wrong = WRONG_KINDS.get(argument) or WRONG_VALUES[argument]
    error = TypeError if argument in WRONG_KINDS else ValueError
    with refused(argument, wrong[0], EXPECTED[argument] + ".", error=error):
        keras_rmi.rmi_loss(*maps(), **{argument: wrong[0]})


def test_options_of_the_function_have_names():
    with pytest.raises(TypeError, match="positional argument"):
        keras_rmi.rmi_loss(*maps(), 3)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="pool_stride"):
        keras_rmi.RMILoss(pool_stride=3)
    with pytest.raises(TypeError, match="reduction"):
        keras_rmi.rmi_loss(*maps(), reduction="sum")


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0], [1.0] * 4])
def test_class_weights_must_be_one_per_channel(weights):
    with refused("class_weights", weights, "3 numbers, one per channel"):
        keras_rmi.rmi_loss(*maps(), class_weights=weights)


@pytest.mark.parametrize("from_logits", [False, True])
def test_softmax_needs_two_channels(from_logits):
    with refused("activation", "softmax", "'sigmoid'", "one channel"):
        keras_rmi.rmi_loss(
            *maps(1), activation="softmax", from_logits=from_logits
        )


@pytest.mark.parametrize(
    ("options", "pooled"),
    [
        ({"radius": 4}, (3, 4)),
        ({"radius": (1, 5)}, (3, 4)),
        ({"pool_size": 10}, (1, 2)),
        ({"pool_size": (1, 20)}, (9, 1)),
        ({"pooling": "max", "radius": (4, 1)}, (3, 4)),
        ({"pooling": "interpolate", "pool_size": 10, "radius": 1}, (0, 1)),
        ({"pooling": "interpolate", "radius": (1, 5)}, (3, 4)),
        ({"pooling": None, "radius": 10}, (9, 12)),
    ],
    ids=str,
)
def test_a_map_smaller_than_the_region_is_refused(options, pooled):
    radius = options.get("radius", 3)
    with refused(
        "radius", radius, f"shape {pooled}, made from (9, 12)", "Lower"
    ):
        keras_rmi.rmi_loss(*maps(), **options)


def test_the_smallest_map_that_holds_the_region_will_do():
    labels, logits = maps()
    value, _ = value_and_gradient(
        lambda x: keras_rmi.rmi_loss(
            labels, x, radius=(3, 4), from_logits=True
        ),
        logits,
    )
    assert_finite(value)


def test_the_pixel_term_alone_needs_no_region():
    value = keras_rmi.rmi_loss(*maps(), radius=99, rmi_weight=0)
    assert_finite(to_numpy(value))


@pytest.mark.parametrize(
    ("argument", "kind"),
    [
        *(("y_true", kind) for kind in (type(None), dict, object)),
        *(("y_pred", kind) for kind in (type(None), dict, object)),
        *(("sample_weight", kind) for kind in (dict, object)),
    ],
)
def test_arguments_must_be_arrays(argument, kind):
    labels, logits = maps()
    arguments = {"y_true": labels, "y_pred": logits, argument: kind()}
    expected = "a tensor or an array of numbers"
    with refused(argument, kind, expected, error=TypeError):
        keras_rmi.rmi_loss(
            arguments.pop("y_true"), arguments.pop("y_pred"), **arguments
        )


def test_labels_of_images_do_not_go_with_predictions_of_none():
    labels, logits = maps()
    with refused("y_true.shape", labels.shape, "class ids"):
        keras_rmi.rmi_loss(labels, logits[:0])


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_predictions_must_be_floating(dtype):
    labels, logits = maps()
    # The name of the dtype is the same on every backend.
    with refused("y_pred.dtype", dtype, "a floating dtype", error=TypeError):
        keras_rmi.rmi_loss(labels, logits.astype(dtype))


@pytest.mark.skipif(
    "graph" not in MODES, reason=f"{BACKEND} knows every size before it runs"
)
def test_channels_must_be_known():
    labels, logits = maps()
    with pytest.raises(ValueError, match=r"`y_pred.shape`.* channels") as text:
        value_and_gradient(
            lambda x: keras_rmi.rmi_loss(labels, x),
            logits,
            "graph",
            traced_shape=(None, None, None, None),
        )
    assert "y_pred.shape=(None, None, None, None)" in str(text.value)


def test_no_channel_is_refused():
    labels, logits = maps()
    with refused("y_pred.shape", (*SIZE, 0), "channels at axis -1"):
        keras_rmi.rmi_loss(labels, logits[..., :0])


@pytest.mark.parametrize(
    ("num_classes", "shape"),
    [(3, (*SIZE, 2)), (3, (*SIZE, 4)), (2, (*SIZE, 3)), (1, (*SIZE, 2))],
)
def test_labels_must_have_the_classes_of_the_predictions(num_classes, shape):
    _, logits = maps(num_classes)
    found = f"for `y_pred` with {num_classes} channel(s)"
    with refused("y_true.shape", shape, found):
        keras_rmi.rmi_loss(np.zeros(shape, "float32"), logits)


def test_dense_labels_must_follow_the_axis():
    _, logits = maps()
    first = np.moveaxis(logits, -1, 1)
    for y_true, y_pred, axis in [(logits, first, 1), (first, logits, -1)]:
        expected = f"3 channels at axis {axis}"
        with refused("y_true.shape", y_true.shape, expected):
            keras_rmi.rmi_loss(y_true, y_pred, axis=axis)


@pytest.mark.parametrize("shape", [(9, 12), (2, 9, 12), (1, 2, 9, 12, 3)])
def test_predictions_must_have_four_axes(shape):
    labels, _ = maps()
    for axis, expected in [(-1, "(N, H, W, C)"), (1, "(N, C, H, W)")]:
        with refused("y_pred.shape", shape, f"four axes {expected}"):
            keras_rmi.rmi_loss(labels, np.zeros(shape, "float32"), axis=axis)


def test_the_order_of_height_and_width_is_checked():
    labels, logits = maps()
    turned = labels.transpose(0, 2, 1)
    with refused("y_true.shape", turned.shape, "(2, 9, 12)"):
        keras_rmi.rmi_loss(turned, logits)


def test_shapes_are_checked_in_every_mode(mode):
    labels, logits = maps()
    with refused("y_true.shape", (2, 9, 11), "(2, 9, 12)"):
        value_and_gradient(
            lambda x: keras_rmi.rmi_loss(labels[:, :, 1:], x), logits, mode
        )


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 2), (1, 2), (2, 9)])
def test_image_weights_must_be_one_per_image(shape):
    with refused("sample_weight.shape", shape, "(2,) or (2, 1)"):
        keras_rmi.rmi_loss(*maps(), sample_weight=np.ones(shape, "float32"))


@pytest.mark.parametrize(
    "shape", [(2, 9, 11), (1, 9, 12), (2, 12, 9), (2, 9, 12, 3), (2, 9, 1)]
)
def test_pixel_weights_must_be_one_per_pixel(shape):
    found = "(2, 9, 12) or (2, 9, 12, 1)"
    with refused("sample_weight.shape", shape, found):
        keras_rmi.rmi_loss(*maps(), sample_weight=np.ones(shape, "float32"))


@pytest.mark.parametrize("shape", [(2,), (2, 1), SIZE, (*SIZE, 1)])
@pytest.mark.parametrize("kind", [np.asarray, np.ndarray.tolist])
def test_negative_weights_are_refused_where_they_can_be_seen(shape, kind):
    weights = np.ones(shape, "float32")
    weights[1] = -0.25
    with refused("sample_weight", -0.25, "weights >= 0"):
        keras_rmi.RMILoss()(*maps(), kind(weights))


@pytest.mark.parametrize("shape", [(2,), SIZE])
def test_negative_weights_are_nan_where_they_cannot_be_seen(shape):
    weights = np.ones(shape, "float32")
    weights[1] = -0.25
    labels, logits = maps()
    value, _ = value_and_gradient(
        lambda x: keras_rmi.rmi_loss(
            labels,
            x,
            from_logits=True,
            pooling=None,
            radius=1,
            sample_weight=ops.convert_to_tensor(weights) + 0 * ops.sum(x),
        ),
        logits,
    )
    assert np.isfinite(value[0])
    assert np.isnan(value[1])


@pytest.mark.parametrize("reduction", ["max", 1, "SUM"])
def test_reduction_is_refused_as_keras_does(reduction):
    with pytest.raises(ValueError, match=f"reduction={reduction}"):
        keras_rmi.RMILoss(reduction=reduction)
