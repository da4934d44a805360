"""Losses in a loop that is not that of Keras: compilers and devices."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_rmi
from cases import MAIN_CASES
from support import (
    BACKEND,
    COMPILER_READS_KERAS,
    HAS_OWN_COMPILER,
    SAME,
    assert_same,
    assert_value,
    in_half_precision,
    in_one_graph,
    to_numpy,
    value_and_gradient,
    without_gradients,
)

pytestmark = pytest.mark.skipif(
    not HAS_OWN_COMPILER,
    reason=f"{BACKEND} compiles in the modes of the contract and places "
    "what it computes itself",
)
compiles = pytest.mark.skipif(
    not COMPILER_READS_KERAS,
    reason="its compiler cannot read Keras before 3.15",
)
main_cases = pytest.mark.parametrize("case", MAIN_CASES, ids=str)


@compiles
@main_cases
def test_a_loss_is_one_graph_for_a_size_and_one_where_sizes_are_symbols(case):
    # The mean of Keras takes the number of images as fixed.
    loss = case.build()
    compiled, graphs = in_one_graph(loss)
    for count, size in enumerate([(2, 9, 8), (3, 13, 12)], start=1):
        y_true, y_pred = map(ops.convert_to_tensor, case.inputs(size))
        actual, expected = (
            value_and_gradient(functools.partial(function, y_true), y_pred)
            for function in (compiled, loss)
        )
        assert_same(actual, expected)
        assert len(graphs) == count


@compiles
def test_an_operation_of_the_package_is_one_graph():
    maps = np.random.default_rng(0).random((2, 1, 8, 8, 2)).astype("float32")
    bound = keras_rmi.ops.region_mutual_information
    a, b = map(ops.convert_to_tensor, maps)
    compiled, graphs = in_one_graph(bound)
    expected = value_and_gradient(lambda x: bound(a, x), b)
    assert_same(value_and_gradient(lambda x: compiled(a, x), b), expected)
    assert len(graphs) == 1


@main_cases
def test_a_loss_is_computed_where_the_predictions_are(case):
    y_true, y_pred = map(ops.convert_to_tensor, case.inputs())
    loss = case.build()
    expected = value_and_gradient(lambda x: loss(y_true, x), y_pred)
    y_pred.requires_grad_()
    # Another device than that of the model, which keeps no numbers at all.
    with keras.device("meta"):
        value = loss(y_true, y_pred)
        value.sum().backward()
    assert value.device == y_pred.grad.device == y_pred.device
    assert_value(to_numpy(value), expected[0], SAME)
    np.testing.assert_array_equal(to_numpy(y_pred.grad), expected[1])


@main_cases
def test_a_context_of_half_precision_changes_nothing(case):
    y_true, y_pred = case.inputs()
    loss = case.build()
    expected = value_and_gradient(lambda x: loss(y_true, x), y_pred)
    # Backward too, though one should leave the context before.
    with in_half_precision():
        a = ops.ones((2, 2))
        assert keras.backend.standardize_dtype((a @ a).dtype) == "bfloat16"
        actual = value_and_gradient(lambda x: loss(y_true, x), y_pred)
    for part, of_plain in zip(actual, expected):
        np.testing.assert_array_equal(part, of_plain)


@main_cases
def test_the_value_needs_no_gradient(case):
    y_true, y_pred = case.inputs()
    loss = case.build()
    expected = to_numpy(loss(y_true, y_pred))
    for context in without_gradients():
        with context:
            value = loss(y_true, ops.convert_to_tensor(y_pred))
        assert not value.requires_grad
        np.testing.assert_array_equal(to_numpy(value), expected)
