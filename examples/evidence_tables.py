"""Writes the tables of a page anew from the results of runs.

A table stands between the lines `<!-- table NAME FOLDER -->` and
`<!-- end -->` of a Markdown file; FOLDER holds results of evidence.py and is
relative to the file. NAME is one of `rows.TABLES`, or part (the first of
them, with what is there only), short (that in few columns), seeds (mIoU of
every seed), classes (IoU of every class), runs (one line each) or shifts
(what evidence_shifts.py found). A row without runs has dashes.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import rows
from command import DATASETS
from results import read_all, read_files
from scores import BANDS, DIRECTIONS, class_iou

BLOCK = re.compile(
    r"(<!-- table (?P<name>\S+) (?P<folder>\S+) -->\n)(?P<text>.*?)(<!-- end)",
    re.DOTALL,
)
MISSING = "\N{EN DASH}"
LAST_PROBES = 5  # of a training, a mean of which is its end
TITLES = {
    ("downsampling", "rmi"): "avg, DF 3",
    ("region", "rmi"): "R 3",
    ("weight", "rmi"): "weight 0.5",
}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pages", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit with 1 if a table is not up to date",
    )
    options = parser.parse_args(arguments)
    changed = False
    for page in options.pages:
        old = page.read_text(encoding="utf-8")
        new = filled(old, page.parent)
        if new != old:
            changed = True
            print(f"{page}: {'out of date' if options.check else 'written'}")
            if not options.check:
                page.write_text(new, encoding="utf-8")
    return int(options.check and changed)


def filled(text, base):
    """A page with its tables made anew; folders are relative to `base`."""

    def block(match):
        table = make(match["name"], base / match["folder"])
        return f"{match[1]}\n{table}\n\n{match[5]}"

    return BLOCK.sub(block, text)


def make(name, folder):
    """One table as Markdown."""
    if name == "runs":
        return _runs(read_files(folder))
    if name == "shifts":
        path = folder / "shifts" / "shifts.json"
        return _shifts(json.loads(path.read_text()))
    found = read_all(folder)
    timing = folder / "timing" / "steps.json"
    timing = json.loads(timing.read_text()) if timing.exists() else {}
    if name == "classes":
        return _classes(found)
    if name == "seeds":
        return _seeds(found)
    if name in ("part", "short"):
        shown = [row for row in rows.TABLES["losses"] if row in found]
        return _losses(name, shown, found, timing)
    return _losses(name, rows.TABLES[name], found, timing)


def _losses(name, shown, found, timing):
    short = name == "short"
    bands = BANDS[:1] if short else BANDS
    head = ["loss", "seeds", "mIoU", "over CE"]
    head += [f"mIoU, {width} px" for width in bands]
    if not short:
        head += ["on training crops", "seconds/step", "extra ms/image"]
    lines = []
    for row in shown:
        runs = found.get(row, {})
        title = TITLES.get((name, row), rows.title(row))
        line = [title, len(runs), _score(runs), _over(found, row)]
        line += [_score(runs, f"band {width}") for width in bands]
        if not short:
            line.append(spread(_fits(runs)))
            line.append(_seconds(timing.get("seconds", {}).get(row)))
            line.append(_extra(runs))
        lines.append(line)
    return table(head, lines)


def _fits(runs):
    """The mIoU on crops of training images at the end, of each run."""
    curves = [run.get("curve", {}).get("train_miou") for run in runs.values()]
    return [np.mean(curve[-LAST_PROBES:]) for curve in curves if curve]


def _extra(runs):
    """What a prediction costs beside the network, in milliseconds."""
    if not runs:
        return MISSING
    seconds = [run.get("extra_seconds", 0.0) for run in runs.values()]
    return f"{1000 * np.median(seconds):.0f}"


def _score(runs, key="all"):
    """The mIoU of a row, over its seeds."""
    return spread([result["mean_iou"][key] for result in runs.values()])


def _over(found, row, other="ce"):
    """The mean difference to another row, over the seeds of both."""
    first, second = found.get(row, {}), found.get(other, {})
    shared = sorted(first.keys() & second.keys())
    if row == other:
        return MISSING
    return spread(
        [
            first[seed]["mean_iou"]["all"] - second[seed]["mean_iou"]["all"]
            for seed in shared
        ],
        "{:+.1f}",
    )


def _classes(found):
    """IoU of every class, the mean over the seeds."""
    names = _class_names(found)
    lines = [
        [
            rows.title(row),
            *(
                _percent(value, "{:.1f}")
                for value in np.mean(
                    [class_iou(_all(r)) for r in found[row].values()], axis=0
                )
            ),
        ]
        for row in _there(found)
    ]
    return table(["loss", *names], lines)


def _seeds(found):
    """The mIoU of each seed, on all pixels and near boundaries."""
    seeds = sorted({seed for runs in found.values() for seed in runs})
    scores = {"mIoU": "all", f"{BANDS[0]} px": f"band {BANDS[0]}"}
    head = [f"{title}, seed {seed}" for title in scores for seed in seeds]
    lines = [
        [
            rows.title(row),
            *(
                _one(found[row].get(seed), key)
                for key in scores.values()
                for seed in seeds
            ),
        ]
        for row in _there(found)
    ]
    return table(["loss", *head], lines)


def _one(run, key):
    """The mIoU of a run, which may not be there."""
    return MISSING if run is None else _percent(run["mean_iou"][key], "{:.1f}")


def _there(found):
    """The rows that have runs, in the order of the tables."""
    return [row for row in (*rows.ROWS, *rows.REFINED) if row in found]


def _class_names(found):
    for results in found.values():
        for result in results.values():
            return DATASETS[result["setting"]["data"]].CLASS_NAMES
    return ()


def _runs(found):
    """Every single run."""
    lines = [
        [
            rows.title(result["row"]),
            result["seed"],
            result["setting"]["scored"],
            result["setting"]["steps"],
            f"{result['setting']['learning_rate']:g}",
            _percent(result["mean_iou"]["all"], "{:.2f}"),
        ]
        for result in found
    ]
    head = ["loss", "seed", "scored on", "steps", "learning rate", "mIoU"]
    return table(head, lines)


def _shifts(found):
    """The mIoU near boundaries by the shift, the mean over the seeds."""
    by_row = {}
    for run in found["runs"]:
        by_row.setdefault(run["row"], []).append(run)
    lines = [
        [rows.title(row), len(runs), direction]
        + [
            _percent(value, "{:.1f}")
            for value in np.mean([run[direction] for run in runs], axis=0)
        ]
        for direction in DIRECTIONS
        for row, runs in by_row.items()
    ]
    shifts = [f"{shift:+d}" if shift else "0" for shift in found["shifts"]]
    return table(["loss", "seeds", "moved", *shifts], lines)


def _all(result):
    return np.array(result["confusion"]["all"])


def spread(values, form="{:.1f}"):
    """Mean and standard deviation, of fractions in percent."""
    if not len(values):
        return MISSING
    text = _percent(np.mean(values), form)
    if len(values) == 1:
        return text
    return f"{text} ± {_percent(np.std(values, ddof=1), '{:.1f}')}"


def _percent(value, form):
    return MISSING if np.isnan(value) else form.format(100 * value)


def _seconds(value):
    return MISSING if value is None else f"{value:.3f}"


def table(head, lines):
    """A Markdown table."""
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(
        "| " + " | ".join(str(cell) for cell in line) + " |" for line in cells
    )


if __name__ == "__main__":
    sys.exit(main())
