"""Half precision ends where float32 does, and a fault would be seen."""

import keras
import numpy as np
import pytest

from stress import mixed_precision
from stress.mixed_precision import Run, last, train, verdict
from support import HALF


def test_500_steps_end_as_in_float32():
    make, num_classes = mixed_precision.LOSSES["RMILoss"]
    plain = train(make(), num_classes, "float32")
    assert len(plain.losses) == 500
    assert last(plain) < 0.7 * plain.losses[0]
    for policy in ("mixed_float16", "mixed_bfloat16"):
        run = train(make(), num_classes, policy)
        assert verdict(run, plain) is None
        assert np.any(run.losses != plain.losses)
        assert (run.scale is not None) == (policy == "mixed_float16")


@pytest.mark.parametrize("head", [None, "float32"])
def test_logits_may_be_of_either_dtype(head):
    with mixed_precision.dtype_policy("mixed_float16"):
        model = mixed_precision.network(4, head)
        model.compile(loss="mse")
    assert model.outputs[0].dtype == (head or "float16")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.0, 1.04], None),
        ([2.0, 1.06], "1.060 of that in float32"),
        ([2.0, 0.94], "0.940 of that in float32"),
        ([np.nan, 1.0], "not finite at step 0"),
        ([2.0, np.inf], "not finite at step 1"),
    ],
)
def test_a_run_that_went_astray_is_seen(values, expected):
    plain = Run(np.array([2.0] + [1.0] * 50), 0, None)
    run = Run(np.array(values[:1] + values[1:] * 50), 0, 1.0)
    found = verdict(run, plain)
    assert found is None if expected is None else expected in found


def test_the_loss_scale_saves_small_slopes_and_makes_none_infinite():
    make, num_classes = mixed_precision.LOSSES["softmax crossentropy"]
    (lost, _, wrong), (kept, infinite, rounding) = (
        mixed_precision.gradient_in_float16(make(), num_classes, scale)
        for scale in mixed_precision.SCALES
    )
    assert lost > 100 * kept
    assert infinite == 0
    assert wrong > 0.05
    assert rounding < HALF["float16"]
