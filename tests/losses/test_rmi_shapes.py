"""Shapes whose edges are straight and predictions without noise.

Few patterns fill such a map, so the covariances are singular but for epsilon,
and the longer an edge is, the smaller is epsilon beside it.
"""

import functools

import numpy as np
import pytest

import keras_rmi
from reference import rmi
from support import (
    DEFAULT_MODE,
    HARD_NORM,
    MODES,
    SHAPE_VALUE,
    assert_finite,
    assert_value,
    value_and_gradient,
)

SIDE = 48
SHAPES = {
    "level": lambda i, j: i - 0.4 * SIDE + 0 * j,
    "diagonal": lambda i, j: (i - j) / 2**0.5,
    "steep": lambda i, j: (2 * i - j - 20) / 5**0.5,
    "corner": lambda i, j: np.maximum(i, j) - SIDE / 2,
    "disc": lambda i, j: np.hypot(i - SIDE / 2, j - SIDE / 2) - SIDE / 3,
    "stripes": lambda i, j: 3 * np.sin(0.7 * i) + 0 * j,
}
# Slope of the logits, and how far from the edge the predicted one is.
PREDICTIONS = [(0.5, 0.0), (2.0, 1.3), (8.0, 0.0), (8.0, 1.3)]
NAMES = [
    f"{shape}, slope {slope:g}, off by {shift:g}"
    for shape in SHAPES
    for slope, shift in PREDICTIONS
]


@functools.cache
def inputs():
    """Masks (N, H, W) and probabilities (N, H, W, 1), one for each name."""
    distances = [f(*np.mgrid[:SIDE, :SIDE]) for f in SHAPES.values()]
    masks = [d > 0 for d in distances for _ in PREDICTIONS]
    logits = [
        np.clip(slope * (d - shift), -30, 30)
        for d in distances
        for slope, shift in PREDICTIONS
    ]
    logits = np.stack(logits)[..., None].astype("float32").astype("float64")
    p = 1 / (1 + np.exp(-logits))
    return np.stack(masks).astype("float32"), p.astype("float32")


def options(radius):
    return {"radius": radius, "pooling": None, "rmi_weight": 1.0}


def norms(maps):
    return np.linalg.norm(maps.reshape(len(maps), -1), axis=-1)


@functools.cache
def expect(radius):
    """Values and gradients in float64."""
    masks, p = inputs()
    return rmi.rmi_loss(masks, p.astype("float64"), **options(radius))


@functools.cache
def measure(radius, mode):
    masks, p = inputs()
    packed = np.concatenate([p, masks[..., None]], axis=-1)

    def loss(x):
        return keras_rmi.rmi_loss(x[..., 1], x[..., :1], **options(radius))

    value, gradient = value_and_gradient(loss, packed, mode)
    return value, gradient[..., :1]


RUNS = [(radius, DEFAULT_MODE) for radius in (1, 2, 3, 4, 5)]
RUNS += [(3, mode) for mode in MODES if mode != DEFAULT_MODE]


@pytest.mark.parametrize(("radius", "mode"), RUNS)
def test_value_is_that_of_float64(radius, mode):
    values = measure(radius, mode)[0]
    assert_finite(values)
    for value, expected in zip(values, expect(radius)[0], strict=True):
        assert_value(value, expected, SHAPE_VALUE)


@pytest.mark.parametrize(("radius", "mode"), RUNS)
def test_gradient_is_that_of_float64(radius, mode):
    gradients = measure(radius, mode)[1]
    assert_finite(gradients)
    slopes = expect(radius)[1]
    errors = norms(gradients - slopes) / norms(slopes)
    assert np.all(errors <= HARD_NORM), NAMES[np.argmax(errors)]


def test_gradient_of_a_long_edge_is_nearly_as_exact_as_probabilities():
    """Level and upright: equal terms in a row, which are rounded one way."""
    side = 192
    rows = np.mgrid[:side, :side][0] - 0.4 * side
    distances = np.stack([rows, rows.T])
    logits = np.clip(8 * (distances - 1.3), -30, 30)[..., None]
    masks, p = np.float32(distances > 0), np.float32(1 / (1 + np.exp(-logits)))
    rng = np.random.default_rng(0)
    rounded = p * (1 + 2.0**-24 * rng.uniform(-1, 1, p.shape))

    def loss(p):
        return keras_rmi.rmi_loss(masks, p, **options(3))

    gradient = value_and_gradient(loss, p)[1]
    exact, other = (
        rmi.rmi_loss(masks, p.astype("float64"), **options(3))[1]
        for p in (p, rounded)
    )
    # As the mean is, without care, it is off by four times that on XLA.
    assert np.all(norms(gradient - exact) <= 3 * norms(other - exact))


@pytest.mark.parametrize("mode", MODES)
def test_no_gradient_where_all_regions_have_the_same_labels(mode):
    """A map one region wide, and an edge in the same place of each."""
    mask = np.zeros((1, 9, 4), "float32")
    mask[..., -1] = 1.0
    p = np.random.default_rng(0).uniform(0.1, 0.9, (1, 9, 4, 1))

    def loss(p):
        return keras_rmi.rmi_loss(mask, p, **options(4))

    value, gradient = value_and_gradient(loss, p.astype("float32"), mode)
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-8)


def test_classes_that_are_absent_or_everywhere_have_the_value_zero():
    """Exactly: what is left of each would add up over many classes."""
    masks = np.zeros((2, 12, 12, 60), "float32")
    masks[1, ..., ::7] = 1.0
    p = np.random.default_rng(0).uniform(0.0, 1.0, masks.shape)

    def loss(p):
        return keras_rmi.rmi_loss(masks, p, **options(radius=3))

    value, gradient = value_and_gradient(loss, p.astype("float32"))
    assert np.all(value == 0.0)
    assert np.all(gradient == 0.0)


def test_centres_that_are_alike_do_not_spoil_the_residual():
    """A row of regions on a ramp, which tells little of the labels."""
    rng = np.random.default_rng(0)
    masks = np.float32(rng.random((32, 5, 8)) < 0.4)
    ramp = np.linspace(-3, 3, 5)[:, None]
    logits = ramp + 0.02 * (2 * masks - 1) + 0.01 * rng.normal(size=masks.shape)
    p = np.float32(1 / (1 + np.exp(-logits)))[..., None]

    def loss(p):
        return keras_rmi.rmi_loss(masks, p, **options(5))

    value, gradient = value_and_gradient(loss, p)
    values, slopes = rmi.rmi_loss(masks, p.astype("float64"), **options(5))
    assert_value(value, values, SHAPE_VALUE)
    assert np.all(norms(gradient - slopes) <= HARD_NORM * norms(slopes))
