"""Arrays whose type says how they are shared out among devices."""

import numpy as np
import pytest
from keras import ops

import keras_rmi
from cases import MAIN_CASES, Case, small
from support import (
    BACKEND,
    HAS_SHARDED_TYPES,
    SAME,
    assert_same,
    assert_value,
    explicit_mesh,
    to_numpy,
    value_and_gradient,
)

pytestmark = pytest.mark.skipif(
    not HAS_SHARDED_TYPES, reason=f"arrays of {BACKEND} have no such type"
)
# With class ids these are looked up for each pixel.
WEIGHTED = Case(
    "rmi, weighted classes",
    small(radius=2, class_weights=[1.0, 0.25, 2.0, 0.5]),
)


def check(function, x, *others, entered):
    """One device has all shares: only the types differ."""
    expected = value_and_gradient(function, x, constants=others)
    with explicit_mesh(entered) as share:
        others = tuple(map(share, others))
        actual = value_and_gradient(function, share(x), constants=others)
    assert_same(actual, expected)


@pytest.mark.parametrize("case", [*MAIN_CASES, WEIGHTED], ids=str)
def test_a_loss_takes_them(case):
    y_true, y_pred = case.inputs()
    loss = case.build()
    check(lambda x, y: loss(y, x), y_pred, y_true, entered=True)


@pytest.mark.parametrize("entered", [True, False])
def test_the_bound_and_the_crf_take_them(entered):
    maps = np.random.default_rng(0).random((3, 2, 8, 8, 3)).astype("float32")
    bound = keras_rmi.ops.region_mutual_information
    check(bound, maps[0], maps[1], entered=entered)
    crf = keras_rmi.layers.DenseCRF(iterations=1)
    check(lambda q, x: crf([q, x]), *maps[1:], entered=entered)


def test_the_metric_takes_them():
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, (2, 12, 12))
    y_pred = rng.normal(size=(2, 12, 12, 3)).astype("float32")
    metric = keras_rmi.metrics.RegionMutualInformation(3, from_logits=True)
    metric.update_state(y_true, y_pred)
    expected = to_numpy(metric.result())
    metric.reset_state()
    with explicit_mesh(entered=True) as share:
        metric.update_state(share(y_true), share(ops.convert_to_tensor(y_pred)))
        actual = to_numpy(metric.result())
    assert_value(actual, expected, SAME)
