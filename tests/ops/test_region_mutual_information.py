"""The public op on two dense maps, against float64."""

import numpy as np
import pytest
from keras import ops

from keras_rmi.ops import region_mutual_information
from reference import scenes
from reference.pixelwise import activate
from reference.regions import posterior_log_determinant
from support import (
    NEGLIGIBLE,
    SAME,
    assert_gradient,
    assert_value,
    central_difference,
    value_and_gradient,
)


def maps(name="noisy", height=19, width=23, num_classes=2):
    """Two maps that are not labels: both between 0 and 1."""
    labels, logits = scenes.scene(name, height, width, num_classes)
    rng = np.random.default_rng(1)
    first = 0.1 + 0.7 * np.eye(num_classes)[labels]
    first += 0.1 * rng.random(first.shape)
    second = activate(logits.astype("float64"), "sigmoid")[0]
    return first.astype("float32"), second.astype("float32")


def expected(first, second, radius=3, epsilon=5e-4):
    """Values in nats, and both gradients."""
    value, by_first, by_second = posterior_log_determinant(
        first, second, radius, epsilon
    )
    radius = np.broadcast_to(radius, 2)
    nats = -radius[0] * radius[1]
    return nats * value, nats * by_first, nats * by_second


@pytest.mark.parametrize(
    "options",
    [
        {"radius": 1, "epsilon": 1e-2},
        {"radius": 5},
        {"radius": (1, 4), "epsilon": 1e-4},
        {"radius": (3, 2), "epsilon": 1.0},
    ],
    ids=str,
)
def test_bound_in_nats_and_both_gradients_match_float64(options):
    pair = np.stack(maps())
    bound, *slopes = expected(*pair, **options)
    value, gradient = value_and_gradient(
        lambda x: region_mutual_information(x[0], x[1], **options), pair
    )
    assert value.shape == (1, 2)
    assert value.dtype == "float32"
    assert_value(value, bound)
    assert_gradient(gradient[0], slopes[0])
    assert_gradient(gradient[1], slopes[1])


@pytest.mark.parametrize("argument", [0, 1])
def test_gradient_to_one_map_leaves_the_other_constant(argument, mode):
    pair = maps()
    bound, *slopes = expected(*pair, radius=2)

    def library(x):
        changed = [x if i == argument else pair[i] for i in range(2)]
        return region_mutual_information(*changed, radius=2)

    value, gradient = value_and_gradient(library, pair[argument], mode)
    assert_value(value, bound)
    assert_gradient(gradient, slopes[argument])


def test_gradients_are_the_slopes_of_the_float64_value():
    pair = np.stack(maps(height=11, width=12))
    positions, slopes = central_difference(
        lambda x: expected(*x, radius=(2, 3))[0].sum(), pair
    )
    _, gradient = value_and_gradient(
        lambda x: region_mutual_information(x[0], x[1], radius=(2, 3)), pair
    )
    np.testing.assert_allclose(
        gradient[positions], slopes, rtol=1e-3, atol=1e-3 * abs(slopes).max()
    )


def test_gradient_follows_the_weight_of_each_entry():
    first, second = maps(num_classes=3)
    weights = np.array([[2.0, 0.0, -1.0]], "float32")
    _, _, by_second = expected(first, second)
    _, gradient = value_and_gradient(
        lambda x: (
            region_mutual_information(first, x) * ops.convert_to_tensor(weights)
        ),
        second,
    )
    assert_gradient(gradient, weights[:, None, None] * by_second)
    assert not gradient[..., 1].any()


def test_information_of_a_map_on_itself_is_nearly_the_bound():
    first, _ = maps()
    value, _ = value_and_gradient(
        lambda x: region_mutual_information(first, x, (1, 2), 1e-2), first
    )
    # What a map leaves of itself is at most the regulariser: M <= a I.
    assert np.all(value <= -np.log(1e-2) + 1e-4)
    assert np.all(value >= -np.log(2e-2) - 1e-4)


def test_a_better_prediction_carries_more_information():
    first, second = maps()
    noise = np.random.default_rng(2).random(first.shape, "float32")
    predictions = [second, 0.5 * (second + noise), noise]
    value, _ = value_and_gradient(
        lambda x: region_mutual_information(np.repeat(first, 3, 0), x, 2),
        np.concatenate(predictions),
    )
    assert np.all(value[0] > value[1])
    assert np.all(value[1] > value[2])


def test_each_image_and_class_stands_alone():
    first, second = maps(num_classes=3)
    changed = second.copy()
    changed[..., 0] = second[..., 0].T.reshape(second.shape[:-1])
    value, _ = value_and_gradient(
        lambda x: region_mutual_information(np.repeat(first, 3, 0), x, 2),
        np.concatenate([second, changed, second]),
    )
    assert_value(value[0], value[2], SAME)
    assert_value(value[0, 1:], value[1, 1:], SAME)
    assert abs(value[0, 0] - value[1, 0]) > 0.1


def test_smallest_map_holds_one_region():
    first, second = maps(height=3, width=4)
    value, gradient = value_and_gradient(
        lambda x: region_mutual_information(first, x, radius=(3, 4)), second
    )
    # One point has no covariance: nothing is left but the regulariser.
    assert_value(value, np.full((1, 2), -6 * np.log(5e-4)))
    # The mean is subtracted within a product, which may round.
    assert np.abs(gradient).max() <= NEGLIGIBLE


def test_no_images_have_no_values():
    first, second = (x[:0] for x in maps())
    value, gradient = value_and_gradient(
        lambda x: region_mutual_information(first, x), second
    )
    assert value.shape == (0, 2)
    assert gradient.shape == second.shape
