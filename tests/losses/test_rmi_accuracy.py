"""Float32 against float64 on the maps that break float32 statistics.

One batch holds every hard case as an image, so that one call measures them
all. With one class a case cannot hide behind an easy class.
"""

import functools

import numpy as np
import pytest
from keras import ops

import keras_rmi
from reference import rmi, scenes
from support import (
    BACKEND,
    DEFAULT_MODE,
    HARD_DIRECTION,
    HARD_NORM,
    HARD_VALUE,
    MODES,
    NEGLIGIBLE,
    SAME,
    assert_direction,
    assert_finite,
    assert_norm,
    assert_value,
    one_minus_cosine,
    reduced_matrix_precision,
    to_numpy,
    value_and_gradient,
)

CASES = tuple(scenes.LOGITS)

# Height, width, classes and options.
SETTINGS = {
    "33 DF1 R3": (33, 33, 1, {"pool_size": 1, "radius": 3}),
    "33 DF3 R5": (33, 33, 1, {"pool_size": 3, "radius": 5}),
    "47 DF4 R1": (33, 47, 1, {"pool_size": 4, "radius": 1}),
    "65 DF1 R5": (41, 65, 1, {"pool_size": 1, "radius": 5}),
    "129 DF3 R2": (97, 129, 1, {"pool_size": 3, "radius": 2}),
    "129 DF4 R4": (129, 129, 1, {"pool_size": 4, "radius": 4}),
    "513 DF1 R2": (65, 513, 1, {"pool_size": 1, "radius": 2}),
    "513 DF1 R3": (513, 513, 1, {"pool_size": 1, "radius": 3}),
    "513 DF3 R3": (513, 513, 1, {"pool_size": 3, "radius": 3}),
    "513 DF4 R5": (257, 513, 1, {"pool_size": 4, "radius": 5}),
    "65 max": (65, 65, 1, {"pooling": "max"}),
    "66 interpolate": (49, 66, 1, {"pooling": "interpolate"}),
    "41 softmax": (33, 41, 3, {"activation": "softmax", "pool_size": 2}),
}
LARGEST = "513 DF1 R3"
LARGEST_CASES = (*CASES[:2], "constant", "ramp", "barely initialised")


def cases_of(setting):
    return LARGEST_CASES if setting == LARGEST else CASES


RUNS = [
    (setting, mode, case)
    for setting in SETTINGS
    for mode in (MODES if setting == "33 DF1 R3" else (DEFAULT_MODE,))
    for case in cases_of(setting)
]

# Cases whose true gradient can be zero: probabilities that round to 0 or 1,
# an absent class, and a constant map, whose first order vanishes where no
# border is padded.
FLAT = {name for name in CASES if name.split()[0] in ("perfect", "half")}
FLAT |= {"absent noisy", "absent upsampled x8", "constant"}


@functools.cache
def inputs(setting):
    (height, width, num_classes, options) = SETTINGS[setting]
    labels, logits = scenes.stacked_scenes(
        cases_of(setting), height, width, num_classes
    )
    return labels, logits, {"from_logits": True, "rmi_weight": 1.0, **options}


@functools.cache
def expect(setting):
    """Values (N,) and gradients (N, H, W, C) in float64, one per case."""
    labels, logits, options = inputs(setting)
    return rmi.rmi_loss(labels, logits, **options)


@functools.cache
def measure(setting, mode):
    """The same from the library."""
    labels, logits, options = inputs(setting)
    # Labels come as a channel: as constants, XLA would fold them for seconds.
    packed = np.concatenate([logits, labels[..., None]], axis=-1)

    def loss(x):
        return keras_rmi.rmi_loss(x[..., -1], x[..., :-1], **options)

    value, gradient = value_and_gradient(loss, packed.astype("float32"), mode)
    return value, gradient[..., :-1]


def assert_accurate_value(value, setting, case):
    index = cases_of(setting).index(case)
    assert_finite(value[index])
    assert_value(value[index], expect(setting)[0][index], HARD_VALUE)


def assert_accurate_gradient(gradient, setting, case):
    index = cases_of(setting).index(case)
    (_, slopes) = expect(setting)
    (gradient, slope) = (gradient[index], slopes[index])
    assert_finite(gradient)
    # The direction of zero means nothing. What counts as zero is measured by
    # the gradient of an ordinary prediction, and so is the error.
    negligible = NEGLIGIBLE * np.linalg.norm(slopes[CASES.index("noisy")])
    if case in FLAT and np.linalg.norm(slope) <= negligible:
        assert np.linalg.norm(gradient - slope) <= negligible
        return
    tolerance = HARD_DIRECTION
    if setting == LARGEST and case == "ramp":
        # Rounding the probabilities alone turns the gradient by more than
        # the tolerance, even in float64; twice that angle is allowed.
        tolerance = 4 * rounding_of_probabilities(setting, index)
    assert_direction(gradient, slope, tolerance)
    assert_norm(gradient, slope, HARD_NORM)


def rounding_of_probabilities(setting, index):
    """What the float32 sigmoid of the backend does to a float64 gradient."""
    labels, logits, options = inputs(setting)
    (labels, logits) = (labels[index, None], logits[index, None])
    p = to_numpy(ops.sigmoid(ops.convert_to_tensor(logits))).astype("float64")
    _, slope = rmi.rmi_loss(labels, p, **(options | {"from_logits": False}))
    return one_minus_cosine(
        slope[0] * p[0] * (1 - p[0]), expect(setting)[1][index]
    )


@pytest.mark.parametrize(("setting", "mode", "case"), RUNS)
def test_value_is_that_of_float64(setting, mode, case):
    assert_accurate_value(measure(setting, mode)[0], setting, case)


@pytest.mark.parametrize(("setting", "mode", "case"), RUNS)
def test_gradient_is_that_of_float64(setting, mode, case):
    assert_accurate_gradient(measure(setting, mode)[1], setting, case)


def test_pixel_term_of_saturated_logits_is_exact():
    labels, logits = scenes.stacked_scenes(
        ["perfect 100", "half wrong 100"], 33, 33
    )
    for activation in ("sigmoid", "softmax"):
        options = {
            "from_logits": True,
            "rmi_weight": 0.0,
            "activation": activation,
        }
        value, gradient = value_and_gradient(
            lambda x, options=options: keras_rmi.rmi_loss(labels, x, **options),
            logits,
        )
        expected, slope = rmi.rmi_loss(labels, logits, **options)
        assert_value(value, expected)
        np.testing.assert_allclose(
            gradient, slope, atol=SAME * np.abs(slope).max()
        )


@pytest.mark.parametrize("setting", ["33 DF1 R3", "66 interpolate"])
def test_accuracy_survives_fast_matrix_products(setting):
    sample = ops.convert_to_tensor(scenes.scene("noisy", 64, 64)[1][0, ..., 0])
    exact = to_numpy(ops.matmul(sample, sample))
    with reduced_matrix_precision():
        fast = to_numpy(ops.matmul(sample, sample))
        if np.abs(fast - exact).max() < 1e-4 * np.abs(exact).max():
            pytest.skip(f"{BACKEND} has no fast matrix product here")
        value, gradient = measure.__wrapped__(setting, DEFAULT_MODE)
    for case in CASES:
        assert_accurate_value(value, setting, case)
        assert_accurate_gradient(gradient, setting, case)
