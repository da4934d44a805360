"""Writes the figures of the running backend.

python tests/agreement/write.py FOLDER
"""

import sys
from pathlib import Path

import keras

sys.path.append(str(Path(__file__).resolve().parents[1]))

import keras_rmi
from agreement import cases, figures
from support import MODES, value_and_gradient


def main(folder):
    # As in `fit`: the first way to compile, where there is one.
    mode = MODES[:2][-1]
    found = {}
    for case in [*cases.loss_cases(), *cases.other_cases()]:
        value, gradient = value_and_gradient(case.function, case.x, mode)
        found["value", case.name] = value
        found["gradient", case.name] = gradient
    for case in cases.hard_cases():
        value, _ = value_and_gradient(case.function, case.x, mode)
        found["value", case.name] = value
    for name, options in cases.TRAINED_LOSSES.items():
        found["curve", name] = cases.training_curve(options)
    backend = keras.backend.backend()
    origin = figures.fingerprint(Path(keras_rmi.__file__).parent)
    path = figures.save(folder, backend, found, origin)
    print(f"agreement: {len(found)} figures of {backend} written to {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
