"""Growth with the image and with the number of classes: text and numbers."""

import math
import statistics

from figures import MIB, median, successes
from tables import loss_name, milliseconds, table


def growth_sections(figures):
    """The Markdown, section by section."""
    s = figures.setting
    return [
        "# Growth of time and memory",
        "Forward and backward on logits (1, H, W, C). Rounds over all cases: "
        f"{s['rounds']}, each case in a fresh process. In brackets: per logit, "
        "that is per pixel and class. Where growth is linear that is constant.",
        _all_cases(figures),
        "## Exponents",
        "Slope of the logarithm of the figure over that of the number of "
        "logits: between the two largest, and in brackets fitted to all. 1 is "
        "linear; constant costs, which rule small sizes, make it less.",
        _exponents(figures),
    ]


def series(figures):
    """{(axis, subject, factor, backend): [case, ...] in growing order}.

    The axis is "pixels", at the one number of classes, or "classes".
    """
    s = figures.setting
    found = {}
    for case in sorted(figures.cases, key=logits):
        if not successes(case):
            continue
        key = (case["subject"], case["factor"], case["backend"])
        shape = [case["height"], case["width"]]
        if case["classes"] == s["classes"] and shape[0] in s["sizes"]:
            found.setdefault(("pixels", *key), []).append(case)
        if case["classes"] in s["class_counts"] and shape == s["size"]:
            found.setdefault(("classes", *key), []).append(case)
    return found


def logits(case):
    """How many there are."""
    return case["batch"] * case["height"] * case["width"] * case["classes"]


def exponent(cases, measure):
    """Slope in a log-log plot, None for fewer than two points."""
    points = [(logits(case), median(case, measure)) for case in cases]
    points = [(x, y) for x, y in points if y]
    if len(points) < 2:
        return None
    logarithms = [[math.log(value) for value in axis] for axis in zip(*points)]
    return statistics.linear_regression(*logarithms).slope


def _all_cases(figures):
    backends = figures.backends()
    cases = {}
    for case in sorted(figures.cases, key=logits):
        shape = (case["height"], case["width"], case["classes"])
        key = (case["subject"], case["factor"], *shape)
        cases.setdefault(key, {})[case["backend"]] = case
    rows = []
    for key in sorted(cases, key=lambda key: (key[0], -(key[1] or 0))):
        cells = [_cell(cases[key].get(backend)) for backend in backends]
        rows.append([loss_name(key[0]), *key[1:], *cells])
    return table(["loss", "DF", "H", "W", "C", *backends], rows)


def _cell(case):
    if case is None:
        return None
    if not successes(case):
        return "failed" if case["runs"] else None
    seconds, memory = median(case, "seconds"), median(case, "memory")
    per_logit = 1e9 * seconds / logits(case)
    text = f"{milliseconds(seconds)} ms ({per_logit:.1f} ns)"
    if memory is None:
        return text
    per_logit = memory / logits(case)
    return f"{text}, {memory / MIB:.0f} MiB ({per_logit:.1f} B)"


def _exponents(figures):
    rows = []
    for (axis, subject, factor, backend), cases in series(figures).items():
        slopes = [_slopes(cases, name) for name in ("seconds", "memory")]
        row = [loss_name(subject), factor, backend, f"with {axis}", *slopes]
        rows.append(row)
    rows.sort(key=lambda row: [str(cell) for cell in row])
    names = ["loss", "DF", "backend", "growth", "time", "memory"]
    return table(names, rows)


def _slopes(cases, measure):
    last, fitted = exponent(cases[-2:], measure), exponent(cases, measure)
    return None if last is None else f"{last:.2f} ({fitted:.2f})"
