"""Native searches and sums do what their plain forms in `keras.ops` do."""

import numpy as np
import pytest
from keras import ops

from keras_rmi import _backend_gradients, _backend_sparse
from support import SAME, SIZES_DEPEND_ON_VALUES, to_numpy, value_and_gradient

both_forms = pytest.mark.parametrize("native", [True, False])


@both_forms
def test_take_gives_rows(native):
    x = np.random.default_rng(0).random((5, 3), "float32")
    ids = np.array([[4, 0], [2, 2]], "int32")
    taken = _backend_sparse.take(
        *map(ops.convert_to_tensor, (x, ids)), native=native
    )
    np.testing.assert_array_equal(to_numpy(taken), x[ids])


@both_forms
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 100])
def test_first_not_less_is_a_search_in_each_row(native, length):
    rng = np.random.default_rng(length)
    limits = np.array([-(2**31), 2**31 - 1], "int32")
    # Few numbers, so that many are equal, and the largest ones.
    numbers = np.concatenate([rng.integers(-9, 9, 20), limits]).astype("int32")
    ordered = np.sort(rng.choice(numbers, (3, length)), axis=-1)
    wanted = rng.choice(numbers, (3, 50))
    found = _backend_sparse.first_not_less(
        *map(ops.convert_to_tensor, (ordered, wanted)), native=native
    )
    expected = [np.searchsorted(*pair) for pair in zip(ordered, wanted)]
    np.testing.assert_array_equal(to_numpy(found), expected)


def interpolation(native):
    """Vertices without points, and points that share one."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 6, (3, 40)).astype("int32")
    ids[ids == 2] = 5
    weights = rng.random(ids.shape, "float32")
    matrix = np.zeros((3 * 7, 40))
    for slot, point in np.ndindex(ids.shape):
        matrix[7 * slot + ids[slot, point], point] += weights[slot, point]
    made = _backend_sparse.Interpolation(
        *map(ops.convert_to_tensor, (ids, weights)), 7, native
    )
    return made, matrix


@both_forms
@pytest.mark.parametrize("channels", [1, 4])
def test_interpolation_is_a_matrix_and_its_transpose(native, channels, mode):
    made, matrix = interpolation(native)
    rng = np.random.default_rng(1)
    for function, factor in [(made.splat, matrix), (made.slice, matrix.T)]:
        x = rng.random((factor.shape[1], channels), "float32")
        value, _ = value_and_gradient(
            lambda x, f=function: f(ops.stop_gradient(x), made.arrays), x, mode
        )
        np.testing.assert_allclose(value, factor @ x, rtol=SAME)


def test_a_linear_function_has_the_gradient_that_is_given(mode):
    made, matrix = interpolation(True)
    x = np.random.default_rng(1).random((40, 2), "float32")
    weights = np.random.default_rng(2).random((21, 2), "float32")

    def halves(_, x):
        """Inside of a branch and a loop, as the mean-field iterations."""
        y = _backend_gradients.linear(made.splat, made.slice, x, made.arrays)
        z = _backend_gradients.linear(made.slice, made.splat, y, made.arrays)
        return 0.25 * z

    def function(x):
        x = _backend_sparse.with_capacity(
            ops.ones((1,), "int32"),
            (1, 2),
            lambda repeat, capacity, x: capacity * repeat(2, halves, x),
            (x,),
        )
        x = _backend_gradients.linear(made.splat, made.slice, x, made.arrays)
        return ops.multiply(x, weights)

    value, gradient = value_and_gradient(function, x, mode)
    whole = matrix @ (0.25 * matrix.T @ matrix) @ (0.25 * matrix.T @ matrix)
    np.testing.assert_allclose(value, weights * (whole @ x), rtol=SAME)
    np.testing.assert_allclose(gradient, whole.T @ weights, rtol=SAME)


@pytest.mark.parametrize("needed", [1, 3, 4, 7, 8, 9])
def test_the_first_capacity_that_is_enough_is_taken(needed, mode):
    def multiply(_, y, x):
        return y * x

    def function(x):
        counts = ops.cast(x[0], "int32")
        return _backend_sparse.with_capacity(
            counts,
            (3, 7, 9),
            lambda repeat, c, x: c * repeat(2, multiply, x**0, (x,)),
            (x[1],),
        )

    x = np.array([[1, needed], [2, 5]], "float32")
    value, gradient = value_and_gradient(function, x, mode)
    expected = next(c for c in (3, 7, 9) if c >= needed)
    if mode in SIZES_DEPEND_ON_VALUES:
        expected = needed
    assert value.tolist() == [4 * expected, 25 * expected]
    assert gradient.tolist() == [[0, 0], [4 * expected, 10 * expected]]
