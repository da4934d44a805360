"""Runs a thousand steps of changing sizes; watches memory and traces.

KERAS_BACKEND=jax python tests/stress/memory.py

The peak of the resident set after all sizes have been seen a few times, a
fifth of the steps, and at the end; how often each loss was traced, which may
be once for each size where code is compiled. The exit code is 1 if memory
grew by more than 2 % or a trace is one too many.
"""

import argparse
import resource
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np

from cases import MAIN_CASES
from support import BACKEND, MODES, value_and_gradient

SIZES = ((2, 24, 40), (1, 40, 24), (3, 33, 33), (2, 48, 17))
GROWTH = 0.02


def steps(case, mode):
    """A function of a size that makes a step, and the list of its traces."""
    loss, traces = case.build(), []

    def call(x, y_true):
        traces.append(x.shape)
        return loss(y_true, x)

    def step(size):
        y_true, y_pred = case.inputs(size)
        value_and_gradient(call, y_pred, mode, constants=(y_true,))

    return step, traces


def peak():
    """Largest resident set so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def run(case, mode, count):
    """Peaks early and at the end, in MiB, and the number of traces."""
    step, traces = steps(case, mode)
    rng = np.random.default_rng(0)
    for size in SIZES:
        step(size)
    for index in range(count):
        step(SIZES[rng.integers(len(SIZES))])
        if index == count // 5:
            early = peak()
    return early, peak(), len(traces)


def verdict(early, late, traces, calls, mode):
    """What is wrong with a run, or None."""
    if late > (1 + GROWTH) * early:
        return f"memory grew by {late / early - 1:.1%}"
    # Op by op, every call is one.
    if traces > (calls if mode == "eager" else len(SIZES)):
        return f"{traces} traces for {len(SIZES)} sizes"
    return None


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1000, metavar="N")
    options = parser.parse_args(arguments)
    mode = MODES[-1]
    print(f"{BACKEND}, {mode}, {options.steps} steps of {len(SIZES)} sizes")
    print(f"{'loss':22}{'MiB early':>10}{'at the end':>11}{'traces':>8}")
    failed = 0
    for case in MAIN_CASES:
        early, late, traces = run(case, mode, options.steps)
        calls = options.steps + len(SIZES)
        wrong = verdict(early, late, traces, calls, mode)
        failed += wrong is not None
        shown = f"{early:10.0f}{late:11.0f}{traces:8}"
        print(f"{case.name:22}{shown}  {wrong or ''}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
