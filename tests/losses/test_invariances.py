"""What changes no loss that looks at pixels without their neighbours.

Dice and Jaccard loss are left out: they are the code of Tversky's.
"""

import functools

import numpy as np
import pytest
from keras import ops

import keras_rmi
from cases import MAIN_CASES, SIZE, VOID
from support import SAME, assert_same, assert_value, value_and_gradient

NEIGHBOURLESS = (
    keras_rmi.SigmoidCrossentropy,
    keras_rmi.SoftmaxCrossentropy,
    keras_rmi.TverskyLoss,
    keras_rmi.FocalLoss,
    keras_rmi.LovaszSoftmaxLoss,
    keras_rmi.LovaszHingeLoss,
)
CASES = [case for case in MAIN_CASES if case.loss in NEIGHBOURLESS]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def inputs(case):
    """Those of the case, but no two logits are alike, so no order is open."""
    y_true, y_pred = case.inputs()
    noise = np.random.default_rng(9).random(y_pred.shape, "float32")
    return y_true, y_pred + noise / 8


def measure(case, y_true, y_pred, *weight):
    constants = (y_true, *weight)
    return value_and_gradient(case.program, y_pred, constants=constants)


@functools.cache
def plain(case):
    return measure(case, *inputs(case))


def test_every_such_loss_is_a_main_case():
    assert {case.loss for case in CASES} == set(NEIGHBOURLESS)


@every_case
def test_pixels_may_change_places(case):
    y_true, y_pred = inputs(case)
    places = np.random.default_rng(4).permutation(SIZE[1] * SIZE[2])

    def shuffled(x):
        flat = x.reshape(SIZE[0], -1, *x.shape[3:])
        return flat[:, places].reshape(x.shape)

    value, gradient = plain(case)
    assert_same(
        measure(case, shuffled(y_true), shuffled(y_pred)),
        (value, shuffled(gradient)),
    )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.num_classes > 1], ids=str
)
def test_classes_may_change_places(case):
    y_true, y_pred = inputs(case)
    order = np.random.default_rng(4).permutation(case.num_classes)
    moved = np.append(np.argsort(order), VOID)[
        np.where(y_true == VOID, case.num_classes, y_true)
    ]
    value, gradient = plain(case)
    assert_same(
        measure(case, moved, y_pred[..., order]), (value, gradient[..., order])
    )


@every_case
def test_what_is_predicted_where_void_makes_no_difference(case):
    y_true, y_pred = inputs(case)
    void = (y_true == VOID)[..., None]
    changed = np.where(void, 30.0 - y_pred, y_pred).astype("float32")
    assert_same(measure(case, y_true, changed), plain(case))
    assert not plain(case)[1][void[..., 0]].any()


@every_case
def test_weights_that_are_alike_are_no_weights(case):
    y_true, y_pred = inputs(case)
    weights = np.full(SIZE, 0.125, "float32")
    assert_same(measure(case, y_true, y_pred, weights), plain(case))


@every_case
def test_an_image_that_comes_twice_has_twice_the_weight(case):
    y_true, y_pred = inputs(case)
    loss = case.build(reduction="mean_with_sample_weight")
    again = [0, 0, 1, 2]

    def both(x):
        repeated = ops.take(x, np.array(again), axis=0)
        return ops.stack(
            [
                loss(y_true[again], repeated, np.ones(4, "float32")),
                loss(y_true, x, np.array([2.0, 1.0, 1.0], "float32")),
            ]
        )

    (repeated, weighted), _ = value_and_gradient(both, y_pred)
    assert_value(repeated, weighted, SAME)
