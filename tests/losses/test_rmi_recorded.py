"""The loss against figures recorded from the published implementation."""

import functools

import pytest

import keras_rmi
from reference.rmi import lower_bound
from support import (
    RECORDED_CASES,
    RECORDED_DIRECTION,
    RECORDED_NORM,
    RECORDED_VALUE,
    assert_direction,
    assert_finite,
    assert_norm,
    assert_value,
    load_recorded,
    modes_of,
    value_and_gradient,
)

# A graph without XLA runs the same kernels as eager TensorFlow. Op by op, JAX
# compiles every single operation, for each shape anew: one case will do.
RUNS = [
    (name, mode)
    for name in RECORDED_CASES
    for mode in modes_of(name == "avg_df4_r3_void")
]
every_run = pytest.mark.parametrize(("name", "mode"), RUNS)


@functools.cache
def measure(name, rmi_weight, mode):
    """Values per image, and the gradient of their mean."""
    case = load_recorded(name)

    def loss(logits):
        return keras_rmi.rmi_loss(
            case.labels,
            logits,
            from_logits=True,
            rmi_weight=rmi_weight,
            **case.options,
        )

    value, gradient = value_and_gradient(loss, case.logits, mode)
    return value, gradient / len(value)


@every_run
def test_rmi_matches_the_published_value(name, mode):
    case = load_recorded(name)
    value, _ = measure(name, 1.0, mode)
    # Ours is shifted to be positive; the published value is the smaller one,
    # so the error is compared to that.
    published = value + case.logits.shape[-1] * lower_bound()
    assert_value(published, case.rmi_value, RECORDED_VALUE)


@every_run
def test_rmi_matches_the_published_gradient(name, mode):
    _, gradient = measure(name, 1.0, mode)
    expected = load_recorded(name).rmi_gradient
    assert_finite(gradient)
    assert_direction(gradient, expected, RECORDED_DIRECTION)
    assert_norm(gradient, expected, RECORDED_NORM)


@every_run
def test_pixel_term_matches_the_published_value(name, mode):
    value, _ = measure(name, 0.0, mode)
    assert_value(value, load_recorded(name).pixel_value, RECORDED_VALUE)


@every_run
def test_pixel_term_matches_the_published_gradient(name, mode):
    _, gradient = measure(name, 0.0, mode)
    expected = load_recorded(name).pixel_gradient
    assert_finite(gradient)
    assert_direction(gradient, expected, RECORDED_DIRECTION)
    assert_norm(gradient, expected, RECORDED_NORM)
