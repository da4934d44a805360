"""Trained weights of the sizes of an affinity field, as a layer."""

import keras
import numpy as np
import pytest

from keras_rmi.layers import AffinityFieldWeights
from support import assert_value, to_numpy


def built(num_sizes=2, shape=(None, 5, 4, 3), **options):
    layer = AffinityFieldWeights(num_sizes, **options)
    layer.build(shape)
    return layer


def test_inputs_come_out_as_they_are():
    x = np.random.default_rng(1).random((2, 5, 4, 3), "float32")
    layer = AffinityFieldWeights(2)
    np.testing.assert_array_equal(to_numpy(layer(x)), x)
    assert layer.compute_output_shape((None, 5, 4, 3)) == (None, 5, 4, 3)


def test_shares_of_the_sizes_sum_to_one():
    layer = built()
    assert_value(to_numpy(layer.shares(2, 3)), np.full((2, 2, 3), 0.5))
    layer.set_weights([np.random.default_rng(2).random((2, 2, 3))])
    assert_value(to_numpy(layer.shares(2, 3)).sum(axis=0), np.ones((2, 3)))


def test_channels_may_come_first():
    layer = built(shape=(None, 3, 5, 4), data_format="channels_first")
    assert to_numpy(layer.shares(2, 3)).shape == (2, 2, 3)


def test_config_makes_the_same_layer():
    layer = AffinityFieldWeights(4, data_format="channels_first", name="a")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()


def test_the_loss_must_have_the_sizes_and_classes_of_the_layer():
    layer = built()
    for sizes, classes in [(3, 3), (2, 4)]:
        expected = rf"`adaptive`.*\({sizes}, 2, {classes}\)\. Received"
        with pytest.raises(ValueError, match=expected):
            layer.shares(sizes, classes)


def test_a_layer_of_no_model_has_no_shares():
    with pytest.raises(ValueError, match=r"`adaptive`.*its own layer"):
        AffinityFieldWeights(2).shares(2, 3)


@pytest.mark.parametrize("num_sizes", [0, -1, 1.5])
def test_sizes_are_counted(num_sizes):
    with pytest.raises((TypeError, ValueError), match="`num_sizes`"):
        AffinityFieldWeights(num_sizes)
