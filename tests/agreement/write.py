"""Writes the figures of the running backend.

python tests/agreement/write.py FOLDER
"""

import concurrent.futures
import multiprocessing
import os
import sys
from pathlib import Path

import keras

sys.path.append(str(Path(__file__).resolve().parents[1]))

import keras_rmi
from agreement import cases, figures
from support import MODES, value_and_gradient


def measure(part, parts):
    """Every so many of the figures, from the one of that number."""
    # As in `fit`: the first way to compile, where there is one.
    mode = MODES[:2][-1]
    found = {}
    exact = [*cases.loss_cases(), *cases.other_cases()]
    for i, case in enumerate([*exact, *cases.hard_cases()]):
        if i % parts != part:
            continue
        value, gradient = value_and_gradient(case.function, case.x, mode)
        found["value", case.name] = value
        if i < len(exact):
            found["gradient", case.name] = gradient
    for i, (name, options) in enumerate(cases.TRAINED_LOSSES.items()):
        if i % parts == part:
            found["curve", name] = cases.training_curve(options)
    return found


def main(folder):
    # Nearly all of the time is one thread that compiles.
    parts = min(4, os.cpu_count() or 1)
    found = {}
    with concurrent.futures.ProcessPoolExecutor(
        parts, multiprocessing.get_context("spawn")
    ) as pool:
        for part in pool.map(measure, range(parts), [parts] * parts):
            found |= part
    backend = keras.backend.backend()
    origin = figures.fingerprint(Path(keras_rmi.__file__).parent)
    path = figures.save(folder, backend, found, origin)
    print(f"agreement: {len(found)} figures of {backend} written to {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
