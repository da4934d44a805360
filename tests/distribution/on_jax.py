"""Steps and an epoch on JAX: one device, or DataParallel of Keras.

python tests/distribution/on_jax.py FILE DEVICES
"""

import re
import sys
from pathlib import Path

import jax
import keras
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from distribution import problem

# Of `lower(...).compile().as_text()`: what devices send to each other.
EXCHANGE = re.compile(
    r"= (?P<results>.+?) (?:all-gather|all-to-all|all-reduce|reduce-scatter|"
    r"collective-permute)(?:-start)?\("
)
SHAPE = re.compile(r"\[([\d,]*)\]")


def largest_exchange(program):
    """Entries of the largest array that devices send to each other."""
    found = EXCHANGE.findall(program)
    shapes = [s for results in found for s in SHAPE.findall(results)]
    sizes = [[int(n) for n in shape.split(",") if n] for shape in shapes]
    return max(map(int, map(np.prod, sizes)), default=0)


class Devices:
    """One device, or many that have equal parts of a batch."""

    def __init__(self, count):
        self.count = count
        self.distribution = None
        if count > 1:
            self.distribution = keras.distribution.DataParallel()
            keras.distribution.set_distribution(self.distribution)

    def part(self, x):
        if x is None or self.distribution is None:
            return x
        layout = self.distribution.get_data_layout(x.shape)
        return jax.device_put(x, layout.backend_layout)


def padded(devices, batch):
    """Void images of weight 0 after the others, to give all devices as many."""
    x, y, weight = batch
    missing = -len(x) % devices.count
    return [
        np.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1), constant_values=c)
        for a, c in ((x, 0.0), (y, problem.VOID), (weight, 0.0))
    ]


def step(devices, case, naive):
    """Compiled for the whole batch, wherever its parts are."""
    model, optimizer = problem.network()
    optimizer.build(model.trainable_variables)
    variables = [v.value for v in model.trainable_variables]
    batch, share = case.batch(), 1.0
    loss = case.build()
    if len(batch[0]) % devices.count:
        batch = padded(devices, batch)
        if not naive:
            loss, share = case.build(reduction="sum"), case.share()

    @jax.value_and_grad
    def objective(variables, x, y, weight):
        logits, _ = model.stateless_call(variables, [], x)
        return loss(y, logits, weight) / share

    batch = [devices.part(x) for x in batch]
    program = jax.jit(objective).lower(variables, *batch).compile()
    value, gradients = program(variables, *batch)
    state = [v.value for v in optimizer.variables]
    updated, _ = optimizer.stateless_apply(state, gradients, variables)
    return {
        "value": value,
        "gradient": gradients,
        "weight": updated,
        "exchanged": largest_exchange(program.as_text()),
    }


def main(path, count):
    jax.config.update("jax_num_cpu_devices", int(count))
    devices = Devices(int(count))
    results = problem.Results()
    for case in problem.CASES:
        results.add(case.name, **step(devices, case, naive=False))
    for case in problem.NAIVE:
        # One program sees the whole batch: only what is padded can be wrong.
        if case.count % devices.count:
            found = step(devices, case, naive=True)
            results.add(f"{case.name}, naive", **found)
    model, optimizer = problem.network()
    loss = problem.composite()
    history = problem.fit(model, optimizer, loss, loss.part_metrics())
    results.add("epoch", **history, weight=model.get_weights())
    results.save(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
