"""Markdown tables and the way numbers are written in them."""

from subjects import SUBJECTS

NOTHING = "–"  # noqa: RUF001 - a dash in a table cell


def table(names, rows):
    """A Markdown table; a cell that is None is a dash."""
    rows = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(value):
    return NOTHING if value is None else str(value)


def milliseconds(seconds):
    """Three figures or so, without the unit."""
    return f"{1e3 * seconds:.{0 if seconds >= 0.1 else 1}f}"


def loss_name(subject):
    """What a row is about; names from code are set as code."""
    code = subject in ("ours", "pixel", "keras")
    return f"`{SUBJECTS[subject]}`" if code else SUBJECTS[subject]
