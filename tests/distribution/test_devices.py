"""Many devices, by the engine of the framework, do what one device does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from distribution.problem import ALONE, CASES, NAIVE
from support import BACKEND, DEVICES, MANY, ROOM

SCRIPT = Path(__file__).with_name(f"on_{BACKEND}.py")
ROOT = SCRIPT.parents[2]
# A wrong way to average is off by this many tolerances or more.
FAR = 100
PATIENCE = 240


def run(folder):
    """Runs the script with one device and with many, at the same time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **ROOM}
    processes = []
    for count in (1, MANY):
        command = [sys.executable, SCRIPT, folder / f"{count}.npz", str(count)]
        with (folder / f"{count}.log").open("wb") as log:
            processes.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    codes = [process.wait(PATIENCE) for process in processes]
    (folder / "ended").write_text(" ".join(map(str, codes)))


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """Arrays by case and quantity, of one device and of many.

    Made once, also where several processes run the tests.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "distribution"
    try:
        folder.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + PATIENCE
        while not (folder / "ended").exists():
            assert time.monotonic() < deadline, "the other process hangs"
            time.sleep(0.2)
    else:
        run(folder)
    found = []
    for count in (1, MANY):
        path = folder / f"{count}.npz"
        log = (folder / f"{count}.log").read_text(errors="replace")
        assert path.exists(), f"no results of {count} devices:\n{log[-4000:]}"
        with np.load(path) as file:
            found.append({name: file[name] for name in file.files})
    return found


def quantities(arrays, case):
    """The arrays of a case by their names."""
    start = f"{case}/"
    return {
        name.removeprefix(start): x
        for name, x in arrays.items()
        if name.startswith(start)
    }


def errors(results, case, reference=None):
    """Of every array, its largest error relative to its largest entry."""
    one, many = results
    expected = quantities(one, reference or case)
    actual = quantities(many, case)
    assert actual.keys() == expected.keys()
    found = {}
    for name, x in expected.items():
        assert actual[name].shape == x.shape
        if not name.startswith("exchanged"):
            scale = np.abs(x).max()
            assert scale > 0, f"{name} is zero"
            found[name] = float(np.abs(actual[name] - x).max() / scale)
    return found


def by_kind(found, kind):
    """The errors of one kind of arrays, of which there are some."""
    chosen = [x for name, x in found.items() if name.startswith(f"{kind}/")]
    assert chosen, f"no {kind}"
    return chosen


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_step_is_that_of_one_device(results, case):
    found = errors(results, case.name)
    for kind in ("value", "gradient", "weight"):
        assert max(by_kind(found, kind)) <= DEVICES, found


def test_a_device_may_have_no_image(results):
    if not quantities(results[1], ALONE.name):
        pytest.skip(
            f"{BACKEND} has no engine that gives a device an empty batch, or "
            "no convolution that takes one"
        )
    found = errors(results, ALONE.name)
    for kind in ("value", "gradient", "weight"):
        assert max(by_kind(found, kind)) <= DEVICES, found


@pytest.mark.parametrize("case", NAIVE, ids=lambda case: case.name)
def test_means_of_unlike_parts_must_not_be_averaged(results, case):
    naive = f"{case.name}, naive"
    if not quantities(results[1], naive):
        pytest.skip(f"{BACKEND} sees one batch, so there are no parts")
    found = errors(results, naive, case.name)
    for kind in ("value", "gradient"):
        assert min(by_kind(found, kind)) > FAR * DEVICES, found


def test_an_epoch_is_that_of_one_device(results):
    found = errors(results, "epoch")
    for kind in ("loss", "region_mutual_information", "iou", "weight"):
        assert max(by_kind(found, kind)) <= DEVICES, found


def test_sums_of_unequal_parts_train_as_one_device_does(results):
    if not quantities(results[1], "unequal epoch"):
        pytest.skip(f"{BACKEND} has no engine whose `fit` takes such a batch")
    found = errors(results, "unequal epoch")
    for kind in ("region_mutual_information", "iou", "weight"):
        assert max(by_kind(found, kind)) <= DEVICES, found
    found = errors(results, "unequal epoch, naive")
    assert max(by_kind(found, "weight")) > FAR * DEVICES, found


def test_devices_exchange_gradients_and_no_maps(results):
    for case in CASES:
        found = quantities(results[1], case.name)
        if "exchanged/0" not in found:
            pytest.skip(f"{BACKEND} exchanges what its engine is told to")
        gradients = [x.size for x in found.values()]
        assert 0 < found["exchanged/0"] <= max(gradients), case.name
