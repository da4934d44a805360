"""A run over many drawn cases: what is counted, kept and printed."""

import collections
import random

from cases import CASES
from stress import checks, illegal, maps
from stress.maps import draw_map_problem
from stress.problems import draw_problem

# Every loss, layer, metric and function of the collection.
ROWS = (*CASES, *maps.TABLE)


def draw(random, row):
    """A problem of a row, and the check for it."""
    if row in CASES:
        return draw_problem(random, row), checks.examine
    return draw_map_problem(random, row), checks.examine_map


class Campaign:
    """Counts of cases and programs, largest errors, and what failed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.counts = collections.Counter()
        self.worst = {}
        self.failures = []

    def legal(self, programs, contents, mode):
        """Draws so many programs and, for each, so many contents."""
        for index in range(programs):
            row = ROWS[index % len(ROWS)]
            problem, examine = draw(self.random, row)
            self.counts[mode, "programs"] += 1
            for _ in range(contents):
                content = problem.draw(self.random)
                self._note(examine, problem, content, mode)
                self.counts[mode, "cases"] += 1
                self.counts["row", str(row)] += 1

    def illegal(self, count):
        """Draws legal cases and breaks each in one way."""
        for index in range(count):
            case = CASES[index % len(CASES)]
            problem = draw_problem(self.random, case)
            content = problem.draw(self.random)
            fault = illegal.draw_fault(self.random, problem, content)
            wrong = illegal.examine(fault)
            self.counts["illegal", "cases"] += 1
            if wrong:
                self.failures.append(f"{fault.name}: {wrong}")

    def _note(self, examine, *drawn):
        problem = drawn[0]
        try:
            found = examine(*drawn)
        except Exception as error:
            # A crash is a finding, not the end of the run.
            text = f"{type(error).__name__}: {error}"
            self.failures.append(f"{text} {problem}")
            return
        if found.faults:
            self.failures.append(str(found))
        for name, error in found.errors.items():
            if error > self.worst.get(name, (-1.0,))[0]:
                self.worst[name] = error, str(problem)

    def report(self):
        """Lines: counts per mode, largest errors, failures."""
        lines = [
            f"{self.counts[mode, 'cases']} legal cases, {mode}, in "
            f"{count} programs"
            for (mode, kind), count in self.counts.items()
            if kind == "programs"
        ]
        lines.append(f"{self.counts['illegal', 'cases']} illegal cases")
        lines += [
            f"largest error, {name}: {error:.1e} in {where}"
            for name, (error, where) in sorted(self.worst.items())
        ]
        lines.append(f"{len(self.failures)} failures")
        return lines + [f"FAILED {text}" for text in self.failures[:50]]
