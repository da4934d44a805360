"""What every loss of the table promises, whatever it computes."""

import functools
import itertools
import json

import keras
import numpy as np
import pytest
from keras import ops

from cases import CASES, FORM_CASES, MAIN_CASES, SIZE, VOID
from support import (
    BACKEND,
    DEFAULT_MODE,
    MODES,
    SAME,
    as_users_wrap_it,
    assert_finite,
    assert_same,
    assert_value,
    modes_of,
    search_for_nan,
    to_numpy,
    trace_without_rank,
    value_and_gradient,
)

RUNS = [
    pytest.param(case, mode, id=f"{case}-{mode}")
    for case in CASES
    for mode in modes_of(case.main)
]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_form = pytest.mark.parametrize("case", FORM_CASES, ids=str)
main_cases = pytest.mark.parametrize("case", MAIN_CASES, ids=str)


def run(case, y_true, y_pred, mode=DEFAULT_MODE):
    """Values and gradient of a case."""
    return value_and_gradient(case.program, y_pred, mode, constants=(y_true,))


@functools.cache
def measure(case, mode=DEFAULT_MODE):
    """Values and gradient of a case for its own inputs."""
    return run(case, *case.inputs(), mode)


def evaluate(function, x):
    """The value alone, which compiles faster."""
    return value_and_gradient(lambda x: function(ops.stop_gradient(x)), x)[0]


@pytest.mark.parametrize(("case", "mode"), RUNS)
def test_one_finite_float32_value_per_image(case, mode):
    value, _ = measure(case, mode)
    assert value.shape == SIZE[:1]
    assert value.dtype == "float32"
    assert_finite(value)
    assert np.all(value[:-1] > 0)
    assert np.ptp(value[:-1]) > 0


@pytest.mark.parametrize(("case", "mode"), RUNS)
def test_gradient_is_finite_and_reaches_every_image(case, mode):
    _, gradient = measure(case, mode)
    assert_finite(gradient)
    assert np.all(np.abs(gradient[:-1]).max(axis=(1, 2, 3)) > 1e-4)


@pytest.mark.parametrize(("case", "mode"), RUNS)
def test_a_void_image_has_no_value_and_no_gradient(case, mode):
    value, gradient = measure(case, mode)
    assert abs(value[-1]) <= SAME
    assert not gradient[-1].any()


@pytest.mark.skipif(len(MODES) == 1, reason=f"{BACKEND} has a single mode")
@every_case
def test_all_modes_agree(case):
    for mode in modes_of(case.main):
        assert_same(measure(case, mode), measure(case))


@every_form
def test_an_image_of_a_batch_is_as_the_image_alone(case):
    y_true, y_pred = case.inputs()
    alone = run(case, y_true[1:2], y_pred[1:2])
    assert_same(alone, tuple(part[1:2] for part in measure(case)))


@main_cases
def test_a_batch_without_valid_pixel_is_no_accident(case, mode):
    y_true, y_pred = case.inputs()
    y_true = case.void(y_true, np.ones(SIZE, bool))
    value, gradient = run(case, y_true, y_pred, mode)
    assert_finite(value)
    assert np.all(np.abs(value) <= SAME)
    assert not gradient.any()


@every_form
def test_a_batch_of_no_images_has_no_values(case):
    y_true, y_pred = (x[:0] for x in case.inputs())
    value, gradient = run(case, y_true, y_pred)
    assert value.shape == (0,)
    assert gradient.shape == y_pred.shape


@main_cases
def test_the_mean_and_the_sum_of_no_images_are_zero(case):
    y_true, y_pred = (x[:0] for x in case.inputs())
    weights = {
        "sum": None,
        "sum_over_batch_size": np.ones(0, "float32"),
        "mean_with_sample_weight": np.ones((0, *SIZE[1:]), "float32"),
    }
    losses = [case.build(reduction=reduction) for reduction in weights]

    def totals(x):
        pairs = zip(losses, weights.values())
        return ops.stack([loss(y_true, x, weight) for loss, weight in pairs])

    total, gradient = value_and_gradient(totals, y_pred)
    np.testing.assert_array_equal(total, [0.0, 0.0, 0.0])
    assert gradient.shape == y_pred.shape


@every_form
def test_channel_order_makes_no_difference(case):
    axis = -1 if case.axis == 1 else 1
    loss = case.build(axis=axis)
    y_true, y_pred = case.inputs(axis=axis)
    value, gradient = value_and_gradient(lambda x: loss(y_true, x), y_pred)
    moved = (1, -1) if axis == 1 else (-1, 1)
    assert_same((value, np.moveaxis(gradient, *moved)), measure(case))


@pytest.mark.skipif(
    "graph" not in MODES, reason=f"{BACKEND} knows every size before it runs"
)
@pytest.mark.parametrize(
    ("case", "unknown"),
    [
        *((case, "NHW") for case in CASES),
        *((case, unknown) for case in MAIN_CASES for unknown in ("N", "HW")),
    ],
    ids=str,
)
def test_sizes_may_be_unknown_in_a_graph(case, unknown):
    y_true, y_pred = case.inputs()
    if not case.dense:
        y_true = np.expand_dims(y_true, case.axis)
    # One array, so that the sizes of the labels are unknown too.
    both = np.concatenate([y_pred, y_true.astype("float32")], case.axis)
    axes = "NCHW" if case.axis == 1 else "NHWC"
    shape = [
        None if axis in unknown else size
        for axis, size in zip(axes, both.shape)
    ]
    loss = case.build()

    def apart(x):
        return ops.split(x, [case.num_classes], axis=case.axis)

    value, gradient = value_and_gradient(
        lambda x: loss(*reversed(apart(x))), both, "graph", traced_shape=shape
    )
    gradient, rest = map(to_numpy, apart(gradient))
    assert_same((value, gradient), measure(case))
    assert not rest.any()


@pytest.mark.skipif(
    "graph" not in MODES, reason=f"{BACKEND} knows every size before it runs"
)
@every_form
def test_an_unknown_number_of_axes_is_refused_with_the_cure(case):
    y_true, y_pred = case.inputs()
    loss = case.build()
    for argument, dtype, call in (
        ("y_true", "int32", lambda x: loss(x, y_pred)),
        ("y_pred", "float32", lambda x: loss(y_true, x)),
        ("sample_weight", "float32", lambda x: loss(y_true, y_pred, x)),
    ):
        with pytest.raises(
            ValueError, match=rf"`{argument}.shape`: .* `set_shape`"
        ):
            trace_without_rank(call, dtype)


@every_form
def test_weights_are_told_apart_by_their_rank(case):
    size = (6, 6, 6)
    y_true, y_pred = case.inputs(size)
    rng = np.random.default_rng(3)
    of_images = rng.random(6, "float32")
    of_pixels = 0.5 + rng.random(size, "float32")
    of_pixels[:, 4:, 3:] = 0.0
    same_in_an_image = np.broadcast_to(of_images[:, None, None], size)
    void = case.void(y_true, of_pixels == 0)
    loss = case.build()

    def values(x):
        return ops.stack(
            [
                loss(y_true, x),
                loss(y_true, x, of_images),
                loss(y_true, x, of_images[:, None]),
                loss(y_true, x, same_in_an_image),
                loss(y_true, x, same_in_an_image[..., None]),
                loss(y_true, x, of_pixels),
                loss(y_true, x, of_pixels[..., None]),
                loss(y_true, x, np.float32(of_pixels > 0)),
                loss(void, x),
            ]
        )

    plain, *weighted = evaluate(values, y_pred)
    by_image, by_column, constant, constant4, by_pixel, by_pixel4 = weighted[:6]
    assert_value(by_image, of_images * plain, SAME)
    assert_value(by_column, of_images * plain, SAME)
    assert_value(constant, plain, SAME)
    assert_value(constant4, plain, SAME)
    assert_value(by_pixel4, by_pixel, SAME)
    assert_value(weighted[6], weighted[7], SAME)
    assert np.all(np.abs(by_pixel - plain)[:-1] > 1e-4)


@main_cases
def test_reductions_keep_their_meaning(case):
    y_true, y_pred = case.inputs()
    weights = np.array([0.5, 3.0, 2.0], "float32")
    plain = measure(case)[0]
    means = {
        "sum": np.sum(weights * plain),
        "mean": np.mean(weights * plain),
        "sum_over_batch_size": np.mean(weights * plain),
        "mean_with_sample_weight": np.average(plain, weights=weights),
    }
    losses = [case.build(reduction=reduction) for reduction in means]
    unreduced = [
        case.build(reduction=reduction) for reduction in (None, "none")
    ]

    def values(x):
        reduced = [loss(y_true, x, weights) for loss in losses]
        apart = [loss(y_true, x) for loss in unreduced]
        return ops.concatenate([ops.stack(reduced), *apart])

    expected = np.concatenate([list(means.values()), plain, plain])
    assert_value(evaluate(values, y_pred), expected, SAME)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        *((case, "bfloat16") for case in CASES),
        *((case, "float16") for case in MAIN_CASES),
    ],
    ids=str,
)
def test_half_precision_predictions_lose_nothing(case, dtype):
    y_true, y_pred = case.inputs()
    loss = case.build()
    value = evaluate(lambda x: loss(y_true, ops.cast(x, dtype)), y_pred)
    assert value.dtype == "float32"
    assert_value(value, measure(case)[0], SAME)


@every_form
def test_config_makes_the_same_loss(case):
    y_true, y_pred = case.inputs()
    loss = case.build(reduction="none", name="other", dtype="bfloat16")
    config = loss.get_config()
    again = type(loss).from_config(config)
    assert again.get_config() == config
    assert (again.name, again.reduction) == ("other", "none")
    assert again.dtype == "bfloat16"
    exact = type(loss).from_config(config | {"dtype": "float32"})
    found = value_and_gradient(
        lambda x, y_true: exact(y_true, x), y_pred, constants=(y_true,)
    )
    assert_same(found, measure(case))


@every_case
def test_config_keeps_every_option_through_json(case):
    loss = case.build(dtype="float16")
    text = json.dumps(keras.saving.serialize_keras_object(loss))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is type(loss)
    assert again.dtype == "float16"
    for option, value in case.options.items():
        # A pair may come back as a list.
        assert json.dumps(getattr(again, option)) == json.dumps(value)


@every_form
def test_labels_and_weights_may_depend_on_the_predictions(case):
    _, y_pred = case.inputs()

    def labels(x):
        if case.dense:
            return ops.softmax(3 * x, axis=case.axis)
        if case.num_classes == 1:
            return ops.cast(x > 0, "float32")
        return ops.argmax(x, axis=case.axis)

    def weights(x):
        return 1.0 + ops.mean(ops.sigmoid(x), axis=case.axis)

    loss = case.build()
    y_true = to_numpy(labels(ops.convert_to_tensor(y_pred)))
    fixed = to_numpy(weights(ops.convert_to_tensor(y_pred)))
    assert_same(
        value_and_gradient(lambda x: loss(labels(x), x, weights(x)), y_pred),
        value_and_gradient(lambda x: loss(y_true, x, fixed), y_pred),
    )


@main_cases
def test_a_search_for_nan_finds_none_of_ours(case):
    y_true, y_pred = case.inputs()
    loss = case.build()
    mode = "graph" if "graph" in MODES else DEFAULT_MODE
    with search_for_nan():
        # Not the program of the case, which is there without a search.
        found = value_and_gradient(
            lambda x, y_true: loss(y_true, x), y_pred, mode, constants=(y_true,)
        )
    assert_same(found, measure(case))


@main_cases
def test_a_loss_may_be_wrapped_before_it_is_differentiated(case):
    y_true, y_pred = case.inputs()
    loss = case.build()
    wrapped = as_users_wrap_it(lambda x, labels: loss(labels, x))
    assert_same(
        value_and_gradient(wrapped, y_pred, "eager", constants=(y_true,)),
        measure(case),
    )


@pytest.mark.skipif(
    MODES == ("eager",),
    reason=f"{BACKEND} itself vectorises no custom gradient",
)
@main_cases
def test_a_batch_of_batches_can_be_vectorised(case):
    loss = case.build()
    batches = np.array([[0, 1], [2, 0]])
    y_true, y_pred = (x[batches] for x in case.inputs())

    def vectorised(x):
        labels = ops.convert_to_tensor(y_true)
        return ops.vectorized_map(lambda a: loss(*a), (labels, x))

    assert_same(
        value_and_gradient(vectorised, y_pred),
        tuple(part[batches] for part in measure(case)),
    )


@every_case
def test_nan_and_infinity_come_out_as_nan_and_stay_in_their_image(case):
    y_true, y_pred = case.inputs()
    # Where labels are valid and where they are void; -1 is a void image.
    places = [(0, 5, 6), (0, 3, 4), (-1, 5, 6)]
    for place, number in itertools.product(places, (np.nan, np.inf, -np.inf)):
        broken = y_pred.copy()
        np.moveaxis(broken, case.axis, -1)[(*place, 0)] = number
        value, _ = run(case, y_true, broken)
        assert np.isnan(value[place[0]]), (place, number)
        others = np.delete(value, place[0])
        assert_value(others, np.delete(measure(case)[0], place[0]), SAME)


@main_cases
def test_nan_and_infinity_raise_in_no_mode(case, mode):
    y_true, y_pred = case.inputs()
    for number in (np.nan, np.inf, -np.inf):
        y_pred[0] = number
        value, gradient = run(case, y_true, y_pred, mode)
        assert np.isnan(value[0])
        assert np.isnan(gradient[0]).all()
        assert_finite(value[1:], gradient[1:])


def make(axes, case):
    """Zeros whose axes are letters; "+" makes the one before it too long."""
    sizes = dict(zip("NHW10", (*SIZE, 1, 0))) | {"C": case.num_classes}
    shape = []
    for axis in axes:
        if axis == "+":
            shape[-1] += 1
        else:
            shape.append(sizes[axis])
    return np.zeros(shape, "float32")


@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        pytest.param(case, wrong, id=f"{case}-{'-'.join(map(str, wrong))}")
        for case in CASES
        if case.axis == -1
        for wrong in case.wrong_shapes
    ],
)
def test_a_wrong_shape_names_the_argument_and_what_came(case, wrong):
    argument, *axes = wrong
    arrays = [None if a is None else make(a, case) for a in axes]
    loss = case.build()
    with pytest.raises(ValueError, match=f"`{argument}.shape`") as caught:
        loss(*arrays)
    received = dict(zip(("y_true", "y_pred", "sample_weight"), arrays))
    shape = received[argument].shape
    assert str(caught.value).endswith(f"Received: {argument}.shape={shape}")


def test_void_is_no_class_of_the_table():
    assert all(case.num_classes <= VOID for case in CASES)
