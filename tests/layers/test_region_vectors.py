"""Region vectors against float64, and Keras' conventions."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_rmi.layers import RegionVectors2D
from reference.regions import region_vectors, scatter_regions
from support import (
    BACKEND,
    DEFAULT_MODE,
    HALF,
    MODES,
    to_numpy,
    value_and_gradient,
)


def maps(height=7, width=6, channels=2):
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, height, width, channels)).astype("float32")


def assert_follows(radius, x, mode=DEFAULT_MODE, traced_shape=None):
    expected = region_vectors(x, radius)
    weights = np.random.default_rng(1).random(expected.shape, "float32")
    value, gradient = value_and_gradient(
        lambda x: ops.multiply(RegionVectors2D(radius)(x), weights),
        x,
        mode,
        traced_shape,
    )
    assert value.dtype == "float32"
    np.testing.assert_array_equal(value, expected * weights)
    for image, channel in np.ndindex(len(x), x.shape[-1]):
        vectors = weights[image, :, :, channel]
        slope = scatter_regions(
            vectors.reshape(-1, vectors.shape[-1]).T, radius, x.shape[1:3]
        )
        np.testing.assert_allclose(
            gradient[image, :, :, channel], slope, rtol=1e-6
        )


@pytest.mark.parametrize("radius", [1, 2, 3, (1, 4), (3, 2), (7, 6)])
def test_values_and_gradient_match_float64(radius):
    assert_follows(radius, maps())


def test_every_mode_matches_float64(mode):
    assert_follows((2, 3), maps(), mode)


@pytest.mark.skipif(
    "graph" not in MODES, reason=f"{BACKEND} knows every size before it runs"
)
def test_sizes_may_be_unknown_in_a_graph():
    assert_follows((2, 3), maps(), "graph", traced_shape=(None, None, None, 2))


def test_entries_run_through_the_rows_of_a_region():
    x = np.arange(12, dtype="float32").reshape(1, 3, 4, 1)
    vectors = to_numpy(RegionVectors2D((2, 3))(x))
    assert vectors.shape == (1, 2, 2, 1, 6)
    assert vectors[0, 1, 1, 0].tolist() == [5, 6, 7, 9, 10, 11]


@pytest.mark.parametrize("radius", [1, 3, (2, 4)])
def test_output_shape_is_known_without_running(radius):
    x = maps()
    layer = RegionVectors2D(radius)
    shape = tuple(layer(x).shape)
    assert layer.compute_output_shape(x.shape) == shape
    assert tuple(layer(keras.KerasTensor(x.shape)).shape) == shape


def test_unknown_sizes_stay_unknown():
    layer = RegionVectors2D((3, 2))
    expected = (None, None, 5, 4, 6)
    assert layer.compute_output_shape((None, None, 6, 4)) == expected
    assert tuple(layer(keras.Input((None, 6, 4))).shape) == expected
    expected = (2, 3, None, 4, 6)
    assert layer.compute_output_shape((2, 5, None, 4)) == expected


def test_config_makes_the_same_layer():
    layer = RegionVectors2D((3, 2), name="regions", dtype="mixed_bfloat16")
    again = RegionVectors2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.name, tuple(again.radius)) == ("regions", (3, 2))
    assert again.compute_dtype == "bfloat16"


@pytest.mark.parametrize("functional", [True, False])
def test_models_work_and_survive_saving(functional, tmp_path):
    inputs, layer = keras.Input((None, None, 2)), RegionVectors2D(2)
    double = keras.layers.Rescaling(2.0)
    if functional:
        model = keras.Model(inputs, layer(double(inputs)))
    else:
        model = keras.Sequential([inputs, double, layer])
    x = maps()
    expected = 2 * region_vectors(x, 2)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is RegionVectors2D
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected)


@pytest.mark.parametrize("dtype", HALF)
def test_mixed_precision_gives_half_precision_vectors(dtype):
    x = maps()
    outputs = RegionVectors2D(2, dtype=f"mixed_{dtype}")(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    np.testing.assert_allclose(
        to_numpy(ops.cast(outputs, "float32")),
        region_vectors(x, 2),
        rtol=HALF[dtype],
    )


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        ((1, 2, 3), ValueError),
        (2.0, TypeError),
        (True, TypeError),
    ],
)
def test_rejects_a_wrong_radius(value, error):
    with pytest.raises(error, match=r"Invalid `radius`.*Received: ") as caught:
        RegionVectors2D(value)
    assert str(caught.value).endswith(f"radius={value!r}")


@pytest.mark.parametrize("radius", [(8, 1), (1, 7), 9])
def test_rejects_a_map_that_is_smaller_than_the_region(radius):
    layer, x = RegionVectors2D(radius), maps()
    for run, argument in [(layer.compute_output_shape, x.shape), (layer, x)]:
        with pytest.raises(ValueError, match=r"`radius`.*\(7, 6\)") as caught:
            run(argument)
        assert f"Received: radius={radius!r}" in str(caught.value)


def test_rejects_what_is_no_batch_of_maps():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        RegionVectors2D()(np.zeros((4, 4, 2), "float32"))
