"""Trains with every loss until predictions are all but perfect.

KERAS_BACKEND=torch python tests/stress/long_runs.py

Four of 2304 pixels are foreground, 0.17 %. This is where the covariances of
float32 implementations lose their last digits, as the residual of the labels
vanishes. Prints, for each loss, its first value, the value of the labels
themselves as a prediction (its floor), the last value and the largest one of
the last quarter; the exit code is 1 if a value is not finite or the floor is
not reached and kept.
"""

import argparse
import sys
from pathlib import Path

import keras
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

import keras_rmi
from support import MODES, to_numpy

SIZE = (2, 48, 48)
# How far from the floor counts as there.
NEAR = 0.05
LOSSES = {
    "rmi": lambda: keras_rmi.RMILoss(from_logits=True),
    "rmi, no pooling": lambda: keras_rmi.RMILoss(
        from_logits=True, pooling=None
    ),
    "rmi, region term alone, R 5": lambda: keras_rmi.RMILoss(
        from_logits=True, pooling=None, radius=5, rmi_weight=0.9
    ),
    "rmi, softmax, max": lambda: keras_rmi.RMILoss(
        from_logits=True, activation="softmax", pooling="max"
    ),
    **{
        name: lambda name=name: getattr(keras_rmi, name)(from_logits=True)
        for name in (
            "SigmoidCrossentropy",
            "SoftmaxCrossentropy",
            "TverskyLoss",
            "DiceLoss",
            "JaccardLoss",
            "FocalLoss",
            "LovaszSoftmaxLoss",
            "AffinityFieldLoss",
            "PyramidLoss",
        )
    },
}


def scene():
    """Images whose colours tell the class, class ids, and the share of 1."""
    rng = np.random.default_rng(0)
    labels = np.zeros(SIZE, "uint8")
    labels[0, 20:22, 30:32] = labels[1, 7:9, 11:13] = 1
    images = np.eye(2)[labels] + 0.05 * rng.standard_normal((*SIZE, 2))
    return images.astype("float32"), labels, labels.mean()


def network():
    """A small one, with the same weights on every backend."""
    model = keras.Sequential(
        [
            keras.Input((*SIZE[1:], 2)),
            keras.layers.Conv2D(16, 1, activation="relu"),
            keras.layers.Conv2D(2, 1),
        ]
    )
    # Logits start at 0: mutual information does not tell a map from its
    # inverse, so a start that leans to the wrong side may stay there.
    first, *rest = model.get_weights()
    first = np.random.default_rng(0).standard_normal(first.shape)
    model.set_weights([first, *map(np.zeros_like, rest)])
    return model


def train(loss, steps):
    """Loss of each step."""
    images, labels, _ = scene()
    model = network()
    model.compile(
        optimizer=keras.optimizers.Adam(0.02, clipnorm=1.0),
        loss=loss,
        jit_compile="compiled" in MODES,
    )
    values = []
    for _ in range(steps):
        # Keras reports the mean since the last reset.
        model.reset_metrics()
        values.append(float(model.train_on_batch(images, labels)))
    return np.array(values)


def floor(loss):
    """The value of a prediction that is certain and right."""
    _, labels, _ = scene()
    logits = (200.0 * np.eye(2)[labels] - 100.0).astype("float32")
    return float(to_numpy(loss(labels, logits)))


def verdict(values, lowest):
    """What is wrong with a run, or None."""
    if not np.isfinite(values).all():
        return f"not finite at step {int(np.argmin(np.isfinite(values)))}"
    last = values[-len(values) // 4 :]
    if last.max() > lowest + NEAR:
        return f"{last.max() - lowest:.3f} above the floor in the last quarter"
    return None


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000, metavar="N")
    options = parser.parse_args(arguments)
    print(f"foreground {scene()[2]:.2%}, {options.steps} steps")
    print(f"{'loss':30}{'first':>9}{'floor':>9}{'last':>9}{'largest':>9}")
    failed = 0
    for name, make in LOSSES.items():
        values, lowest = train(make(), options.steps), floor(make())
        largest = values[-len(values) // 4 :].max()
        shown = (values[0], lowest, values[-1], largest)
        wrong = verdict(values, lowest)
        failed += wrong is not None
        numbers = "".join(f"{number:9.4f}" for number in shown)
        print(f"{name:30}{numbers}  {wrong or ''}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
