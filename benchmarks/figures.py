"""The raw figures of a run: written as JSON, looked up, compared.

    {"kind": "losses" or "growth", "device", "setting": {...},
     "machine": {...}, "versions": {...}, "sources": {...},
     "cases": [{"subject", "backend", "factor", ..., "runs": [
         {"round", "seconds": [...], "memory", "code_memory", "first_call",
          "first_memory"} or {"round", "error"}, ...]}, ...]}

Times are in seconds, memory in bytes; memory that could not be measured is
None. A run is one process.
"""

import json
import os
import statistics

MIB = 2**20


class Figures:
    """Look-ups in the figures of a run."""

    def __init__(self, data):
        self.data = data
        self.cases = data["cases"]
        self.setting = data["setting"]

    def find(self, subject, backend=None, **attributes):
        """The first such case that was measured at least once, or None."""
        wanted = {"subject": subject, **attributes}
        if backend is not None:
            wanted["backend"] = backend
        for case in self.cases:
            if all(case[name] == value for name, value in wanted.items()):
                if successes(case):
                    return case
        return None

    def backends(self):
        """Those on which the losses of Keras were measured, in order."""
        subjects = ("ours", "pixel", "keras")
        found = [c["backend"] for c in self.cases if c["subject"] in subjects]
        return list(dict.fromkeys(found))


def successes(case):
    """The runs that did not fail."""
    return [run for run in case["runs"] if "error" not in run]


def of_run(run, measure):
    """One figure of a run: the time is the median of its repetitions."""
    if measure == "seconds":
        return statistics.median(run["seconds"])
    return run.get(measure)


def median(case, measure):
    """Median over the rounds of a case; None where nothing was measured."""
    if case is None:
        return None
    values = [of_run(run, measure) for run in successes(case)]
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def spread(case, measure):
    """(smallest, largest) over the rounds."""
    values = [of_run(run, measure) for run in successes(case)]
    return min(values), max(values)


def ratio(upper, lower, measure, scale=1.0):
    """Median over the rounds of upper / lower, each within its round.

    A machine that slows down for a while slows both halves of a round.
    """
    if upper is None or lower is None:
        return None
    below = {run["round"]: of_run(run, measure) for run in successes(lower)}
    ratios = []
    for run in successes(upper):
        above, base = of_run(run, measure), below.get(run["round"])
        if above is not None and base:
            ratios.append(scale * above / base)
    return statistics.median(ratios) if ratios else None


def read(path):
    """The figures in a file."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if data.get("kind") not in ("losses", "growth"):
        raise ValueError(f"{path} is not written by losses.py")
    return Figures(data)


def write(data, path):
    """Writes the file at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
