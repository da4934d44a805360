"""The other commands, in short, and that each can fail."""

import collections

import numpy as np
import pytest

from cases import MAIN_CASES
from stress import long_runs, memory, side_by_side
from support import BACKEND, MODES


def test_a_long_run_reaches_its_floor_and_stays():
    make = long_runs.LOSSES["rmi, no pooling"]
    values, lowest = long_runs.train(make(), 600), long_runs.floor(make())
    assert values[0] > lowest + 1
    assert long_runs.verdict(values, lowest) is None


def test_the_foreground_of_a_long_run_is_rare():
    assert 0 < long_runs.scene()[2] < 0.002


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([1.0, 1.0], None),
        ([1.0, np.nan], "not finite at step 7"),
        ([1.0, 1.2], "0.200 above the floor"),
    ],
)
def test_a_bad_run_is_seen(last, expected):
    found = long_runs.verdict(np.array([3.0] * 6 + last), 1.0)
    assert found is None if expected is None else expected in found


def test_steps_of_changing_sizes_take_no_more_memory_and_few_traces():
    mode = MODES[-1]
    early, late, traces = memory.run(MAIN_CASES[0], mode, 150)
    calls = 150 + len(memory.SIZES)
    assert memory.verdict(early, late, traces, calls, mode) is None
    if mode != "eager":
        assert traces == len(memory.SIZES)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ((100, 102, 4), None),
        ((100, 103, 4), "memory grew by 3.0%"),
        ((100, 100, 5), "5 traces for 4 sizes"),
    ],
)
def test_a_leak_or_a_trace_too_many_is_seen(figures, expected):
    assert memory.verdict(*figures, 20, "compiled") == expected


def test_outcomes_tell_what_went_wrong():
    slopes = np.ones((1, 2, 2, 1))

    def fails():
        raise RuntimeError("not positive definite")

    outcome = side_by_side.outcome
    assert outcome(fails, slopes) == "raises"
    assert outcome(lambda: (np.ones(1), slopes * np.nan), slopes) == "NaN"
    assert outcome(lambda: (np.ones(1), -slopes), slopes) == "wrong gradient"
    assert outcome(lambda: (np.ones(1), slopes), slopes) is None


def test_the_table_counts_every_image():
    images = collections.Counter({"noisy": 3, "exact": 2})
    counts = collections.Counter(
        {("exact", "float32", "raises"): 2, ("noisy", "ours", None): 3}
    )
    lines = side_by_side.table(images, counts).splitlines()
    assert "| exact | 2 | 0 | 2 raises | 0 |" in lines
    assert lines[-1] == "| all | 5 | 0 | 2 raises | 0 |"


@pytest.mark.skipif(
    BACKEND != side_by_side.peers.BACKEND,
    reason="the published code has one framework",
)
def test_what_is_drawn_is_legal_here():
    images, counts = side_by_side.compare(None, 5, seed=0)
    outcomes = side_by_side.OUTCOMES
    assert sum(images.values()) == 5
    # Without a folder the published code cannot be read.
    assert sum(counts[k, "float64", "raises"] for k in images) == 5
    assert not any(counts[k, "ours", o] for k in images for o in outcomes)
