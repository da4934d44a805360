"""Class ids are down-sampled as their one-hot maps are."""

import numpy as np
import pytest
from keras import ops

from keras_rmi.ops.pooled_maps import read_pooling
from reference.downsampling import downsample
from support import to_numpy

# Some leave pixels that no window covers, and the last has one row of windows.
POOL_SIZES = [(4, 4), (3, 2), (1, 6), (5, 1), (12, 7)]


def ids(height=11, width=14, num_classes=3):
    """Ids of classes, a quarter of them none; the last column is one class."""
    rng = np.random.default_rng(0)
    found = rng.integers(-1, num_classes, (2, height, width)).astype("int32")
    found[:, :, -1] = num_classes - 1
    return found


@pytest.mark.parametrize("pool_size", POOL_SIZES)
@pytest.mark.parametrize("pooling", ["avg", "max", "interpolate"])
def test_ids_are_pooled_as_one_hot_maps(pooling, pool_size):
    labels = ids()
    one_hot = labels[..., None] == np.arange(3)
    expected, _ = downsample(one_hot, pooling, pool_size, "nearest")
    downsampling, _ = read_pooling(pooling, pool_size)
    pooled = downsampling.one_hot(ops.convert_to_tensor(labels), 3)
    np.testing.assert_allclose(to_numpy(pooled), expected, atol=1e-7)
