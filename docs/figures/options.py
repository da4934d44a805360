"""Draws the chart of docs/choosing.md and prints its table.

Both are made of the raw figures of study.py, which are kept beside this file.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import mean

import matplotlib

matplotlib.use("Agg")  # no window, and none is needed

import matplotlib.pyplot as plt
from study import DEFAULT

HERE = Path(__file__).resolve().parent
TITLES = {
    "radius": "radius",
    "pooling": "pooling, to a third",
    "pool_size": "pool_size (DF)",
    "rmi_weight": "rmi_weight",
}


def main(arguments=None):
    options = _parser().parse_args(arguments)
    if options.output.exists() and not options.overwrite:
        print(
            f"options.py: error: {options.output} exists; choose another "
            "--output, or replace it with --overwrite",
            file=sys.stderr,
        )
        return 2
    rows = json.loads(options.figures.read_text(encoding="utf-8"))
    groups = {name: _group(rows, name) for name in TITLES}
    print(_table(groups))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    _draw(options.output, groups)
    print(f"\nwrote {options.output}")
    return 0


def _group(rows, name):
    """{value of the option: its runs}, the others at their defaults."""
    found = {}
    for row in rows:
        others = {k: v for k, v in DEFAULT.items() if k != name}
        if all(row[k] == v for k, v in others.items()):
            found.setdefault(row[name], []).append(row)
    if all(isinstance(value, (int, float)) for value in found):
        return dict(sorted(found.items()))
    return found


def _table(groups):
    lines = ["| option | value | mIoU of each run | mean | time of a step |"]
    lines.append("| --- | --- | --- | --- | --- |")
    # Other programs make a step longer, never shorter.
    usual = min(row["milliseconds"] for row in groups["radius"][3])
    for name, group in groups.items():
        for value, runs in group.items():
            scores = [run["miou"] for run in runs]
            time = min(run["milliseconds"] for run in runs) / usual
            cells = [f"`{name}`", f"`{value!r}`"]
            cells.append(", ".join(f"{score:.2f}" for score in scores))
            cells += [f"{mean(scores):.2f}", f"{time:.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _draw(path, groups):
    figure, axes = plt.subplots(
        1, 4, figsize=(10, 2.8), layout="constrained", sharey=True
    )
    for axis, (name, group) in zip(axes, groups.items()):
        for place, (value, runs) in enumerate(group.items()):
            scores = [run["miou"] for run in runs]
            colour = "#e08214" if value == DEFAULT[name] else "#2a6fb0"
            axis.plot([place] * len(scores), scores, "o", color=colour, ms=5)
            bounds = (place - 0.25, place + 0.25)
            axis.hlines(mean(scores), *bounds, color=colour, lw=2)
        axis.set_xticks(range(len(group)), [str(value) for value in group])
        axis.set_xlim(-0.5, len(group) - 0.5)
        axis.set_title(TITLES[name], fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylim(0, 0.8)
    axes[0].set_ylabel("validation mIoU", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--figures",
        type=Path,
        default=HERE / "options.json",
        metavar="FILE",
        help="raw figures of study.py (default: those beside this script)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=HERE.parent / "images" / "options.png",
        metavar="FILE",
        help="the picture to write (default: docs/images/options.png)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing FILE"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
