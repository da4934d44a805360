"""What the losses are to reach, and what they reach."""

import dataclasses

from figures import median, ratio
from subjects import RADIUS


@dataclasses.dataclass(frozen=True)
class Target:
    """One row: `value` is None where a part was not measured."""

    measure: str
    backend: str
    at_least: float | None
    at_most: float | None
    value: float | None
    unit: str = ""

    def is_met(self):
        """None where nothing was measured."""
        if self.value is None:
            return None
        if self.at_least is not None:
            return self.value >= self.at_least
        return self.value <= self.at_most

    def limit(self):
        """The bound in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}{self.unit}"
        return f"at most {self.at_most:g}{self.unit}"


def targets(figures):
    """The rows for the device of the run, for each backend."""
    rows = []
    for backend in figures.backends():
        rows += _Rows(figures, backend).all()
    return rows


class _Rows:
    """The rows of one backend."""

    def __init__(self, figures, backend):
        self.figures, self.backend = figures, backend
        self.batch = figures.setting["batch"]
        self.peer_batch = min(self.batch, figures.setting["peer_batch"])
        self.rows = []

    def all(self):
        on_gpu = self.figures.data["device"] == "gpu"
        for factor in (4, 3, 1):
            least = 12 if factor == 1 and not on_gpu else 8
            self._add(
                f"time: published / ours, DF {factor}",
                ratio(
                    self._peer(factor),
                    self._ours(factor, self._at_peers(factor)),
                    "seconds",
                ),
                at_least=least,
            )
        if on_gpu:
            self._floor()
            return self.rows
        self._memory("memory", "memory of a step")
        if self.backend != "torch":
            self._memory("first_memory", "memory of the first step, compiling")
        self._against_ourselves()
        if self.backend != "torch":
            self._compile_time()
        return self.rows

    def _memory(self, measure, words):
        for factor in (4, 1):
            ours = self._ours(factor, self._at_peers(factor))
            value = ratio(ours, self._peer(factor), measure)
            self._add(f"{words}: ours / published, DF {factor}", value, 0.2)
        batches = dict.fromkeys((self.peer_batch, self.batch))
        for batch in batches:
            value = ratio(self._ours(1, batch), self._peer(4), measure)
            self._add(
                f"{words}: ours at DF 1 (N = {batch}) / "
                f"published at DF 4 (N = {self.batch})",
                value,
                1.0,
            )

    def _against_ourselves(self):
        keras = self.figures.find("keras", self.backend, batch=self.batch)
        ours = self._ours(4, self.batch)
        self._add(
            "time: ours at DF 4 / Keras' cross entropy",
            ratio(ours, keras, "seconds"),
            2,
        )
        for batch in dict.fromkeys((self.peer_batch, self.batch)):
            value = ratio(self._ours(1, batch), ours, "seconds")
            words = f"DF 1 (N = {batch}) / ours at DF 4 (N = {self.batch})"
            self._add(f"time: ours at {words}", value, 4)

    def _compile_time(self):
        times = [
            median(case, "first_call")
            for case in self.figures.cases
            if case["subject"] == "ours" and case["backend"] == self.backend
        ]
        slowest = max((t for t in times if t is not None), default=None)
        self._add(
            "time of the first step, compiling, slowest of ours",
            slowest,
            5,
            unit=" s",
        )

    def _floor(self):
        copies = self.figures.find("copies", self.backend)
        for factor in (4, 3, 1):
            ours = self._ours(factor, self.batch)
            self._add(
                f"time: ours at DF {factor} / reading twice + writing once",
                ratio(ours, copies, "seconds", scale=2.0),
                3,
            )

    def _at_peers(self, factor):
        return self.peer_batch if factor == 1 else self.batch

    def _peer(self, factor):
        batch = self._at_peers(factor)
        return self.figures.find(
            "published", factor=factor, radius=RADIUS, batch=batch
        )

    def _ours(self, factor, batch):
        return self.figures.find(
            "ours", self.backend, factor=factor, radius=RADIUS, batch=batch
        )

    def _add(self, measure, value, at_most=None, at_least=None, unit=""):
        self.rows.append(
            Target(measure, self.backend, at_least, at_most, value, unit)
        )
