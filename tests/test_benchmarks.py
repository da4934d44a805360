"""The benchmark runs, and its report says what the raw figures hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from run_script import run_script
from support import BACKEND

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20


def run(script, *words):
    path = ROOT / "benchmarks" / script
    return run_script(path, *words, PYTHONPATH=str(ROOT))


def case(subject, *rounds, factor=None, radius=None, batch=2, **shape):
    """A case whose rounds are (seconds, memory) or None where it failed."""
    runs = []
    for index, figures in enumerate(rounds):
        if figures is None:
            runs.append({"round": index, "error": "out of memory"})
            continue
        seconds, memory = figures
        # The median is the middle one, whatever the others are.
        runs.append(
            {
                "round": index,
                "seconds": [9.0, seconds, 1e-6],
                "memory": memory * MIB,
                "code_memory": 7 * MIB,
                "first_call": 2.5,
                "first_memory": 11 * MIB,
            }
        )
    shape = {"height": 65, "width": 65, "classes": 3, **shape}
    options = {"factor": factor, "radius": radius, "batch": batch}
    names = {"subject": subject, "backend": BACKEND}
    return {**names, **options, **shape, "runs": runs}


def figures(kind, *cases):
    return {
        "kind": kind,
        "device": "cpu",
        "command": "python benchmarks/losses.py",
        "setting": {
            "size": [65, 65],
            "classes": 3,
            "batch": 2,
            "peer_batch": 1,
            "rounds": 2,
            "repeats": 3,
            "sizes": [65, 130],
            "class_counts": [3, 6],
        },
        "machine": {"processor": "abacus", "cores": 2},
        "versions": {"python": "3.11"},
        "sources": {},
        "cases": cases,
    }


LOSSES = figures(
    "losses",
    case("copies", (0.006, 0), (0.006, 0)),
    case("published", (0.1, 400), (0.9, 400), factor=4, radius=3),
    case("ours", (0.01, 100), (0.03, 60), factor=4, radius=3),
    case("ours", None, None, factor=2, radius=3),
    case("keras", (0.02, 50), (0.02, 50)),
)
GROWTH = figures(
    "growth",
    case("ours", (0.01, 10), factor=1, radius=3, batch=1),
    case(
        "ours", (0.04, 40), factor=1, radius=3, batch=1, height=130, width=130
    ),
    case("ours", (0.04, 20), factor=1, radius=3, batch=1, classes=6),
)


@pytest.fixture
def report(tmp_path):
    """Writes raw figures, makes the report; the text and the process."""

    def make(data, *words):
        raw = tmp_path / "raw.json"
        raw.write_text(json.dumps(data))
        words = ("--from-json", raw, "--output", tmp_path, *words)
        done = run("losses.py", *words)
        path = tmp_path / f"{data['kind']}-cpu.md"
        return path.read_text() if path.exists() else None, done

    return make


def row(text, *starts):
    """Cells of the one table row that starts with these cells."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    (found,) = [cells for cells in rows if cells[: len(starts)] == [*starts]]
    return found[len(starts) :]


def test_the_tables_hold_the_medians(report):
    text, done = report(LOSSES, "--no-chart")
    assert done.returncode == 1, "a case failed"
    overview, _, rest = text.partition("## Targets")
    assert row(overview, "`RMILoss`", "4") == ["3", "2", "20.0 ms, 80 MiB"]
    assert row(overview, "`RMILoss`", "2") == ["3", "2", "failed"]
    assert row(overview, "three copies of the logits")[-1] == "6.0 ms"
    floor = "reading the logits twice, writing once"
    assert row(overview, floor)[-1] == "3.0 ms"
    details = rest.partition("## Every case")[2]
    measured = ["20.0 (10.0 - 30.0)", "2.50", "80", "7", "11", "2 of 2"]
    assert row(details, "`RMILoss`", "4") == ["3", "2", BACKEND, *measured]
    assert row(details, "`RMILoss`", "2")[-1] == "0 of 2"
    assert "abacus" in text


def test_ratios_are_taken_within_rounds(report):
    text, _ = report(LOSSES, "--no-chart")

    def reached(measure):
        return row(text, measure, BACKEND)[1:]

    # Rounds give 10 and 30; the medians alone would give 25.
    assert reached("time: published / ours, DF 4") == ["20.00", "yes"]
    memory = "memory of a step: ours / published, DF 4"
    assert reached(memory) == ["0.20", "yes"]
    assert reached("time: ours at DF 4 / Keras' cross entropy")[1] == "yes"
    missing = next(line for line in text.splitlines() if "DF 3" in line)
    assert missing.count("–") == 2  # noqa: RUF001 - the dash of an empty cell


def test_a_missed_target_is_told(report):
    slow = case("ours", (0.1, 90), (0.9, 90), factor=4, radius=3)
    cases = [*LOSSES["cases"][:2], slow]
    _, done = report(figures("losses", *cases), "--no-chart")
    assert done.returncode == 0
    words = ("--no-chart", "--overwrite", "--check")
    text, done = report(figures("losses", *cases), *words)
    assert done.returncode == 1
    missed = f"missed: time: published / ours, DF 4, {BACKEND}: 1.00"
    assert missed in done.stderr
    ratio = row(text, "time: published / ours, DF 4", BACKEND)
    assert ratio == ["at least 8", "1.00", "**no**"]


def test_growth_is_told_per_logit_and_as_exponent(report):
    text, done = report(GROWTH, "--no-chart")
    assert done.returncode == 0, done.stderr
    table, _, exponents = text.partition("## Exponents")
    cell = "10.0 ms (789.0 ns), 10 MiB (827.3 B)"
    assert row(table, "`RMILoss`", "1", "65", "65", "3") == [cell]
    words = ("`RMILoss`", "1", BACKEND)
    assert row(exponents, *words, "with pixels") == 2 * ["1.00 (1.00)"]
    slopes = ["2.00 (2.00)", "1.00 (1.00)"]
    assert row(exponents, *words, "with classes") == slopes


def test_a_file_is_not_replaced_unasked(report):
    before, done = report(GROWTH, "--no-chart")
    assert done.returncode == 0
    other = {**GROWTH, "machine": {"processor": "slide rule"}}
    after, done = report(other, "--no-chart")
    assert done.returncode == 2
    assert "growth-cpu.md exists" in done.stderr
    assert after == before
    after, done = report(other, "--no-chart", "--overwrite")
    assert done.returncode == 0
    assert "slide rule" in after


@pytest.mark.parametrize("data", [LOSSES, GROWTH], ids=lambda d: d["kind"])
def test_the_chart_is_a_picture(report, tmp_path, data):
    pytest.importorskip("matplotlib", reason="the chart needs matplotlib")
    _, done = report(data)
    assert "wrote" in done.stdout, done.stderr
    picture = (tmp_path / f"{data['kind']}-cpu.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


LOOK = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
import memory, numpy
memory._RESET = pathlib.Path(sys.argv[2])
spare = bytes(50_000_000)
del spare
with memory.PeakResident() as seen:
    block = numpy.ones(2**23)
    time.sleep(0.1)
    del block
print(seen.peak - seen.start)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(),
    reason="without /proc there is no figure of the resident set",
)
@pytest.mark.parametrize("reset", ["/proc/self/clear_refs", "/no/such/file"])
def test_the_peak_of_the_resident_set_is_seen(reset):
    words = (sys.executable, "-c", LOOK, str(ROOT / "benchmarks"), reset)
    done = subprocess.run(words, capture_output=True, text=True)
    assert int(done.stdout) == pytest.approx(64 * MIB, rel=0.03), done.stderr


def test_the_crf_is_measured_with_and_without_a_peer():
    shape = ("--size", "20x24", "--classes", "2", "--iterations", "1", "2")
    few = ("--rounds", "1", "--repeats", "1")
    done = run("crf.py", *shape, *few, "--subjects", BACKEND, "pydensecrf")
    assert done.returncode == 0, done.stderr
    ratio = ratio_of_a_call(done.stdout)
    peer = row(done.stdout, "pydensecrf", "2")[0]
    if peer.endswith(" ms"):
        assert float(ratio) > 0
    else:
        assert "pydensecrf" in peer
        assert ratio == "–"  # noqa: RUF001 - the dash of an empty cell


def ratio_of_a_call(printed):
    """That of the backend to the peer, beside two times."""
    (name,) = [
        line.split("|")[1].strip()
        for line in printed.splitlines()
        if line.startswith(f"| {BACKEND}") and "| 2 |" in line
    ]
    time, ratio, first, _ = row(printed, name, "2")
    assert float(time.removesuffix(" ms")) > 0
    assert float(first.removesuffix(" s")) >= 0
    return ratio


def test_the_gradient_of_the_crf_is_measured():
    shape = ("--size", "20x24", "--classes", "2", "--iterations", "2")
    few = ("--rounds", "1", "--repeats", "1", "--gradient")
    done = run("crf.py", *shape, *few, "--subjects", BACKEND)
    assert done.returncode == 0, done.stderr
    ratio_of_a_call(done.stdout)
    done = run("crf.py", *shape, *few)
    assert done.returncode == 2
    assert "pydensecrf has none" in done.stderr


def test_a_process_measures_one_case():
    job = {"subject": "ours", "backend": BACKEND, "factor": 4, "radius": 1}
    job |= {"batch": 1, "height": 33, "width": 33, "classes": 2}
    job |= {"device": "cpu", "threads": 1, "repeats": 2}
    done = run("worker.py", json.dumps(job))
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert len(measured["seconds"]) == 2
    assert 0 < min(measured["seconds"]) <= measured["first_call"]
    assert {BACKEND, "keras", "numpy"} <= set(measured["versions"])
    if Path("/proc/self/status").exists():
        gradient = 4 * 33 * 33 * 2
        assert measured["memory"] > gradient
        assert measured["first_memory"] > gradient
