"""Draws results of evidence.py: curves over an option, and of training.

Four panels: mIoU against the down-sampling factor, the side of the region
and the weight of RMI, with the standard deviation over the seeds, and CE and
BCE as lines to compare with; and mIoU on training crops during training. A
point of one seed is hollow.
"""

import argparse
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no window, and none is needed

import matplotlib.pyplot as plt
import numpy as np
import rows
from results import read_all

PANELS = {
    "down-sampling factor, avg": (
        *("rmi-df1", "rmi-df2", "rmi", "rmi-df4", "rmi-df6"),
    ),
    "side R of the region, DF 3": rows.TABLES["region"],
    "weight of RMI, DF 3": rows.TABLES["weight"],
}
DEFAULTS = dict(zip(PANELS, (3, 3, 0.5)))
LEVELS = {"ce": "#4d4d4d", "bce": "#b7791f"}
COLOR = "#0b5394"


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, help="a folder of results")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    options = parser.parse_args(arguments)
    draw(read_all(options.results), options.picture)
    print(f"wrote {options.picture}")
    return 0


def draw(found, path):
    """Writes the chart of the results by row and seed."""
    figure, grid = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    axes = grid.ravel()
    for axis, (title, names) in zip(axes, PANELS.items()):
        _draw_option(axis, found, names, DEFAULTS[title])
        axis.set_xlabel(title)
        axis.set_ylabel("mIoU, %")
    _draw_training(axes[-1], found)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _draw_option(axis, found, names, default):
    points = [
        (_number(name, default), _scores(found[name]))
        for name in names
        if name in found
    ]
    if points:
        axis.errorbar(
            [x for x, _ in points],
            [np.mean(scores) for _, scores in points],
            [_deviation(scores) for _, scores in points],
            color=COLOR,
            marker="o",
            capsize=3,
            label="RMI",
        )
        axis.set_xticks([x for x, _ in points], [f"{x:g}" for x, _ in points])
    single = [(x, scores[0]) for x, scores in points if len(scores) == 1]
    if single:
        axis.plot(
            *zip(*single),
            color=COLOR,
            marker="o",
            markerfacecolor="white",
            linestyle="",
            zorder=3,
            label="RMI, one seed",
        )
    for name, color in LEVELS.items():
        if name in found:
            scores = _scores(found[name])
            level = np.mean(scores)
            title = rows.title(name)
            axis.axhline(level, color=color, linestyle="--", label=title)
            spread = _deviation(scores)
            axis.axhspan(level - spread, level + spread, color=color, alpha=0.1)


def _draw_training(axis, found):
    """Mean over the seeds, against the share of the steps."""
    for name in rows.TABLES["losses"]:
        if name not in found or name in rows.REFINED:
            continue
        curves = [run["curve"]["train_miou"] for run in found[name].values()]
        steps = next(iter(found[name].values()))["setting"]["steps"]
        mean = 100 * np.mean(curves, axis=0)
        axis.plot(
            steps * np.arange(1, len(mean) + 1) / len(mean),
            mean,
            linewidth=1,
            label=rows.title(name),
        )
    axis.set_xlabel("step")
    axis.set_ylabel("mIoU on training crops, %")


def _number(name, default):
    """The value of the option that a row is named after."""
    match = re.search(r"[\d.]+$", name)
    return float(match[0]) if match else default


def _scores(runs):
    return [100 * run["mean_iou"]["all"] for run in runs.values()]


def _deviation(scores):
    return np.std(scores, ddof=1) if len(scores) > 1 else 0.0


if __name__ == "__main__":
    sys.exit(main())
