"""Down-sampling layers: borders against float64, and Keras' conventions."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_rmi
from keras_rmi.layers import (
    AverageDownsampling2D,
    InterpolationDownsampling2D,
    MaxDownsampling2D,
)
from reference.downsampling import downsample
from support import (
    BACKEND,
    DEFAULT_MODE,
    HALF,
    MODES,
    assert_value,
    to_numpy,
    value_and_gradient,
)


def nearest(pool_size, **options):
    return InterpolationDownsampling2D(
        pool_size, interpolation="nearest", **options
    )


MAKERS = {
    ("avg", "bilinear"): AverageDownsampling2D,
    ("max", "bilinear"): MaxDownsampling2D,
    ("interpolate", "bilinear"): InterpolationDownsampling2D,
    ("interpolate", "nearest"): nearest,
}
every_layer = pytest.mark.parametrize(
    ("rule", "make"),
    MAKERS.items(),
    ids=["average", "max", "bilinear", "nearest"],
)


def maps(height=11, width=14, channels=2, seed=0):
    """Negative nearly everywhere: a zero that slips in would be a maximum."""
    rng = np.random.default_rng(seed)
    shape = (2, height, width, channels)
    return (rng.standard_normal(shape) - 3).astype("float32")


def assert_follows(layer, x, rule, mode=DEFAULT_MODE, traced_shape=None):
    """Values and the gradient of a weighted sum, against float64."""
    expected, adjoint = downsample(x, rule[0], layer.pool_size, rule[1])
    weights = np.random.default_rng(1).random(expected.shape, "float32")
    value, gradient = value_and_gradient(
        lambda x: ops.multiply(layer(x), weights), x, mode, traced_shape
    )
    assert_value(value, weights * expected, 1e-6)
    np.testing.assert_allclose(gradient, adjoint(weights), atol=1e-5)


@every_layer
@pytest.mark.parametrize(
    ("pool_size", "height", "width"),
    [
        (1, 5, 4),
        (2, 10, 13),
        (3, 11, 15),
        (4, 9, 14),
        ((2, 5), 12, 11),
        ((3, 1), 7, 4),
        ((4, 3), 4, 3),
    ],
)
def test_values_and_gradient_match_float64(
    rule, make, pool_size, height, width
):
    assert_follows(make(pool_size), maps(height, width), rule)


@every_layer
def test_every_mode_matches_float64(rule, make, mode):
    assert_follows(make((3, 2)), maps(), rule, mode)


@pytest.mark.skipif(
    "graph" not in MODES, reason=f"{BACKEND} knows every size before it runs"
)
@every_layer
def test_sizes_may_be_unknown_in_a_graph(rule, make):
    assert_follows(
        make((3, 2)), maps(), rule, "graph", traced_shape=(None, None, None, 2)
    )


def test_average_counts_the_padded_zeros():
    outputs = to_numpy(AverageDownsampling2D(3)(np.ones((1, 5, 5, 1))))
    assert_value(
        outputs[0, ..., 0], np.array([[4, 6], [6, 9]]) / 9, tolerance=1e-6
    )


def test_maximum_ignores_the_padding():
    outputs = to_numpy(MaxDownsampling2D(3)(-np.ones((1, 5, 5, 1))))
    assert np.all(outputs == -1)


def test_bilinear_keeps_the_corners():
    x = maps(12, 9)
    outputs = to_numpy(InterpolationDownsampling2D((4, 3))(x))
    for corner in np.ix_((0, -1), (0, -1)), np.ix_((-1, 0), (0, -1)):
        index = (slice(None), *corner)
        assert_value(outputs[index], x[index], 1e-6)


def test_one_sample_is_the_first_pixel():
    x = maps(4, 3)
    for make in (InterpolationDownsampling2D, nearest):
        assert_value(to_numpy(make((4, 3))(x)), x[:, :1, :1], 1e-6)


@every_layer
def test_data_format_moves_the_channels(rule, make):
    x = maps()
    first = make((3, 2), data_format="channels_first")
    last = make((3, 2), data_format="channels_last")
    outputs = to_numpy(first(np.ascontiguousarray(np.moveaxis(x, -1, 1))))
    assert_value(np.moveaxis(outputs, 1, -1), to_numpy(last(x)), 1e-6)


@every_layer
def test_data_format_defaults_to_the_one_of_keras(rule, make):
    before = keras.config.image_data_format()
    try:
        for expected in ("channels_first", "channels_last"):
            keras.config.set_image_data_format(expected)
            assert make(2).data_format == expected
    finally:
        keras.config.set_image_data_format(before)


@every_layer
@pytest.mark.parametrize("pool_size", [2, (4, 3)])
def test_output_shape_is_known_without_running(rule, make, pool_size):
    for data_format in ("channels_last", "channels_first"):
        layer = make(pool_size, data_format=data_format)
        x = maps()
        if data_format == "channels_first":
            x = np.moveaxis(x, -1, 1)
        outputs = layer(np.ascontiguousarray(x))
        assert layer.compute_output_shape(x.shape) == tuple(outputs.shape)
        symbolic = layer(keras.KerasTensor(x.shape))
        assert tuple(symbolic.shape) == tuple(outputs.shape)


@every_layer
def test_unknown_sizes_stay_unknown(rule, make):
    layer = make(3, data_format="channels_last")
    shape = (None, None, 12, 5)
    assert layer.compute_output_shape(shape) == (None, None, 4, 5)
    outputs = layer(keras.Input((None, 12, 5)))
    assert tuple(outputs.shape) == (None, None, 4, 5)
    first = make(3, data_format="channels_first")
    shape = (2, 5, None, None)
    assert first.compute_output_shape(shape) == shape


@every_layer
def test_config_makes_the_same_layer(rule, make):
    layer = make((3, 2), data_format="channels_first", name="small")
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.name, again.data_format) == ("small", "channels_first")
    x = np.ascontiguousarray(np.moveaxis(maps(), -1, 1))
    assert_value(to_numpy(again(x)), to_numpy(layer(x)), 0.0)


@every_layer
@pytest.mark.parametrize("functional", [True, False])
def test_models_work_and_survive_saving(rule, make, functional, tmp_path):
    inputs, layer = keras.Input((None, None, 2)), make((3, 2))
    convolution = layers.Conv2D(3, 1)
    if functional:
        model = keras.Model(inputs, layer(convolution(inputs)))
    else:
        model = keras.Sequential([inputs, convolution, layer])
    x = maps()
    expected, _ = downsample(to_numpy(convolution(x)), rule[0], (3, 2), rule[1])
    assert_value(model.predict(x, verbose=0), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is type(layer)
    assert_value(loaded.predict(x, verbose=0), expected)


@every_layer
@pytest.mark.parametrize("dtype", HALF)
def test_mixed_precision_gives_half_precision_maps(rule, make, dtype):
    x = maps()
    outputs = make(3, dtype=f"mixed_{dtype}")(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    expected, _ = downsample(x, rule[0], 3, rule[1])
    outputs = to_numpy(ops.cast(outputs, "float32"))
    error = np.abs(outputs - expected).max() / np.abs(x).max()
    assert error <= 4 * HALF[dtype]


@pytest.mark.parametrize("pooling", ["avg", "max", "interpolate"])
def test_the_loss_sees_the_maps_of_the_layers(pooling):
    rng = np.random.default_rng(3)
    labels = rng.random((2, 11, 13, 2), "float32")
    p = rng.random(labels.shape, "float32")
    options = {"rmi_weight": 1.0, "radius": 1}

    def with_layers(p):
        of_labels = MAKERS[pooling, "bilinear"]
        if pooling == "interpolate":
            of_labels = nearest
        small = MAKERS[pooling, "bilinear"](3)(p)
        return keras_rmi.rmi_loss(
            of_labels(3)(labels), small, pooling=None, **options
        )

    value, gradient = value_and_gradient(with_layers, p)
    loss, slope = value_and_gradient(
        lambda p: keras_rmi.rmi_loss(
            labels, p, pooling=pooling, pool_size=3, **options
        ),
        p,
    )
    # The loss adds 1e-6 to the probabilities before the padded zeros.
    assert_value(loss, value, 1e-4)
    np.testing.assert_allclose(slope, gradient, atol=1e-3 * abs(slope).max())


@every_layer
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), ((2, 0), ValueError), (1.5, TypeError)],
)
def test_rejects_a_wrong_pool_size(rule, make, value, error):
    with pytest.raises(error, match=r"Invalid `pool_size`.*Received: ") as text:
        make(value)
    assert str(text.value).endswith(f"pool_size={value!r}")


@every_layer
def test_rejects_an_unknown_data_format(rule, make):
    with pytest.raises(ValueError, match="data_format='NCHW'"):
        make(2, data_format="NCHW")


@pytest.mark.parametrize("value", ["bicubic", None, 1])
def test_rejects_an_unknown_interpolation(value):
    with pytest.raises(ValueError, match="Invalid `interpolation`") as caught:
        InterpolationDownsampling2D(2, interpolation=value)
    assert str(caught.value).endswith(f"interpolation={value!r}")


@every_layer
def test_rejects_what_is_no_batch_of_maps(rule, make):
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        make(2)(np.zeros((4, 4, 2), "float32"))


@pytest.mark.parametrize("make", [AverageDownsampling2D, MaxDownsampling2D])
@pytest.mark.parametrize("pool_size", [4, 5, 20])
def test_the_padding_makes_a_window_of_a_small_map(make, pool_size):
    rule = next(rule for rule in MAKERS if MAKERS[rule] is make)
    assert_follows(make(pool_size), maps(3, 2), rule)


@pytest.mark.parametrize("make", [InterpolationDownsampling2D, nearest])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_rejects_a_map_without_samples(make, data_format):
    layer = make((4, 2), data_format=data_format)
    x = maps(3, 9)
    if data_format == "channels_first":
        x = np.moveaxis(x, -1, 1)
    for run, argument in [(layer.compute_output_shape, x.shape), (layer, x)]:
        with pytest.raises(ValueError, match=r"`pool_size`.*\(3, 9\)") as text:
            run(argument)
        assert "Received: pool_size=(4, 2)" in str(text.value)
