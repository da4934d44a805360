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
    HAS_OWN_COMPILER,
    SAME,
    assert_value,
    in_one_graph,
    to_numpy,
    value_and_gradient,
)

pytestmark = pytest.mark.skipif(
    not HAS_OWN_COMPILER,
    reason=f"{BACKEND} compiles in the modes of the contract and places "
    "what it computes itself",
)


def assert_same_when_compiled(case, sizes):
    loss = case.build(reduction="sum_over_batch_size")
    compiled = in_one_graph(loss)
    for size in sizes:
        y_true, y_pred = map(ops.convert_to_tensor, case.inputs(size))
        (value, gradient), expected = (
            value_and_gradient(functools.partial(function, y_true), y_pred)
            for function in (compiled, loss)
        )
        assert_value(value, expected[0], SAME)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", MAIN_CASES, ids=str)
def test_a_loss_is_one_graph_with_the_same_gradient(case):
    assert_same_when_compiled(case, [(2, 9, 8)])


@pytest.mark.parametrize("name", ["rmi", "pyramid"])
def test_the_graph_takes_maps_of_other_sizes(name):
    (case,) = (case for case in MAIN_CASES if case.name == name)
    # In the second graph sizes are symbols.
    assert_same_when_compiled(case, [(2, 9, 8), (3, 13, 12)])


def test_an_operation_of_the_package_is_one_graph():
    maps = np.random.default_rng(0).random((2, 1, 8, 8, 2)).astype("float32")
    bound = keras_rmi.ops.region_mutual_information
    a, b = map(ops.convert_to_tensor, maps)
    expected = to_numpy(bound(a, b))
    assert_value(to_numpy(in_one_graph(bound)(a, b)), expected, SAME)


@pytest.mark.parametrize("case", MAIN_CASES, ids=str)
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
