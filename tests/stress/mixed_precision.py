"""Trains in half precision beside float32, from the same start.

KERAS_BACKEND=torch python tests/stress/mixed_precision.py

500 steps with RMILoss, 150 with each other loss, on the same batches. Printed:
the loss of the first step, the mean over the last 50 and its ratio to that of
float32, the steps that the optimizer left out because a gradient was not
finite, and the loss scale at the end. With "float32 head" the last layer, and
so the logits, are float32. The exit code is 1 if a loss is not finite, or a
ratio is further from 1 than 5 %.

--gradients asks instead what float16 makes of the gradient of the logits.
"""

import argparse
import contextlib
import sys
from collections import namedtuple
from pathlib import Path

import keras
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

import keras_rmi
from cases import MAIN_CASES, VOID
from support import BACKEND, to_numpy, value_and_gradient

CLASSES = 4
IMAGES = (16, 28, 24)
BATCH = 4
STEPS = 500
FEWER = 150
LAST = 50
CLOSE = 0.05
SCALES = (1.0, 2.0**15)
# Of the model, and of its last layer.
POLICIES = (
    ("float32", None),
    ("mixed_float16", None),
    ("mixed_bfloat16", None),
    ("mixed_float16", "float32"),
    ("mixed_bfloat16", "float32"),
)
# With their defaults, and with the options of the tests.
LOSSES = {
    "RMILoss": (
        lambda: keras_rmi.RMILoss(from_logits=True, ignore_class=VOID),
        CLASSES,
    ),
    **{
        case.name: (
            lambda case=case: case.build(reduction="sum_over_batch_size"),
            case.num_classes,
        )
        for case in MAIN_CASES
    },
}
Run = namedtuple("Run", "losses skipped scale")


def scenes(num_classes):
    """Noisy images whose colours tell the class, and ids with void."""
    rng = np.random.default_rng(0)
    count, height, width = IMAGES
    shape = (count, 1 + height // 4, 1 + width // 4)
    ids = rng.integers(0, max(2, num_classes), shape)
    ids = ids.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    noise = 0.5 * rng.standard_normal((*IMAGES, CLASSES))
    images = np.eye(CLASSES)[ids] + noise
    ids[:, 5:7, 3:20] = VOID
    return images.astype("float32"), ids.astype("uint8")


def network(num_classes, head):
    """Convolutions and what goes with them; the last has the dtype `head`."""
    layers = keras.layers
    if num_classes == 1:
        # torch 2.13 has no gradient of one channel in float16 on a CPU, with
        # any loss: "slow_conv2d: grad_weight must be contiguous".
        head = "float32"
    return keras.Sequential(
        [
            keras.Input((*IMAGES[1:], CLASSES)),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Conv2D(num_classes, 3, padding="same", dtype=head),
        ]
    )


@contextlib.contextmanager
def dtype_policy(name):
    """The policy of all that is built, which `compile` looks at as well."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def train(loss, num_classes, policy, head=None, steps=STEPS):
    """Loss of each step, steps left out, and the loss scale at the end."""
    images, ids = scenes(num_classes)
    keras.utils.set_random_seed(0)
    with dtype_policy(policy):
        model = network(num_classes, head)
        model.compile(optimizer=keras.optimizers.Adam(0.005), loss=loss)
    rng = np.random.default_rng(1)
    losses = []
    for _ in range(steps):
        chosen = rng.choice(len(images), BATCH, replace=False)
        # Keras reports the mean since the last reset.
        model.reset_metrics()
        value = model.train_on_batch(images[chosen], ids[chosen])
        losses.append(float(value))
    optimizer = model.optimizer
    scale = getattr(optimizer, "dynamic_scale", None)
    return Run(
        np.array(losses),
        steps - int(optimizer.iterations),
        None if scale is None else float(to_numpy(scale.value)),
    )


def last(run):
    """Mean loss of the last steps, whose batches all policies share."""
    return float(np.mean(run.losses[-LAST:]))


def verdict(run, plain):
    """What is wrong with a run beside that in float32, or None."""
    if not np.isfinite(run.losses).all():
        return f"not finite at step {int(np.argmin(np.isfinite(run.losses)))}"
    ratio = last(run) / last(plain)
    if not abs(ratio - 1) <= CLOSE:
        return f"the last loss is {ratio:.3f} of that in float32"
    return None


def gradient_in_float16(loss, num_classes, scale, size=(4, 256, 256)):
    """What float16 makes of a gradient: shares of zeros, of infinities, error.

    The logits are those of a network that is mostly right. The error is the
    length of what is lost, relative to that of the gradient.
    """
    rng = np.random.default_rng(0)
    ids = rng.integers(0, max(2, num_classes), (size[0], 8, 8))
    ids = ids.repeat(size[1] // 8, axis=1).repeat(size[2] // 8, axis=2)
    truth = ids[..., None] == (np.arange(num_classes) + (num_classes == 1))
    x = 8.0 * truth - 4.0 + 2.0 * rng.standard_normal(truth.shape)
    _, gradient = value_and_gradient(
        lambda x: loss(ids, x), x.astype("float32")
    )
    scaled = gradient[gradient != 0] * np.float32(scale)
    with np.errstate(over="ignore"):
        stored = scaled.astype("float16").astype("float32")
    error = np.linalg.norm(stored - scaled) / np.linalg.norm(scaled)
    return np.mean(stored == 0), np.mean(np.isinf(stored)), error


def show_runs(names):
    failed = 0
    print(f"{BACKEND}, keras {keras.version()}")
    print(
        f"{'loss':24}{'policy':32}{'first':>9}{'last':>9}{'ratio':>9}  left out"
    )
    for name in names:
        make, num_classes = LOSSES[name]
        main = name == "RMILoss"
        plain = None
        for policy, head in POLICIES if main else POLICIES[:3]:
            steps = STEPS if main else FEWER
            run = train(make(), num_classes, policy, head, steps)
            plain = plain or run
            wrong = verdict(run, plain)
            failed += wrong is not None
            label = policy if head is None else f"{policy}, {head} head"
            scale = "" if run.scale is None else f"scale {run.scale:g}"
            print(
                f"{name:24}{label:32}{run.losses[0]:9.4f}{last(run):9.4f}"
                f"{last(run) / last(plain):9.4f}{run.skipped:4}  {scale}  "
                f"{wrong or ''}",
                flush=True,
            )
    return failed


def show_gradients(names):
    columns = "".join(f"{n:>10}" for n in ("zero", "infinite", "error"))
    print(f"{'':24}" + "".join(f"{f'scale {s:g}':>30}" for s in SCALES))
    print(f"{'loss':24}" + columns * len(SCALES))
    for name in names:
        make, num_classes = LOSSES[name]
        numbers = "".join(
            f"{share:10.3%}"
            for scale in SCALES
            for share in gradient_in_float16(make(), num_classes, scale)
        )
        print(f"{name:24}{numbers}", flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loss", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--gradients", action="store_true")
    options = parser.parse_args(arguments)
    if options.gradients:
        show_gradients(options.loss)
        return 0
    return 1 if show_runs(options.loss) else 0


if __name__ == "__main__":
    sys.exit(main())
