"""One picture: images, truth, each loss's prediction, training curves."""

import matplotlib

matplotlib.use("Agg")  # no window, and none is needed

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch

VOID_COLOR = (255, 255, 255)


def draw(
    path,
    images,
    labels,
    results,
    class_names,
    colors,
    curve=("val_miou", "validation mIoU"),
    unit="epoch",
):
    """Writes a PNG.

    Args:
        path: the file to write.
        images, labels: the scenes to show, (N, H, W, 3) and (N, H, W).
        results: a dict from the name of a loss to its `Result`.
        class_names, colors: one of each per class.
        curve: the entry of the history that is drawn, and what it is.
        unit: what the entries of the history are values of.
    """
    rows, columns = len(images), 2 + len(results)
    aspect = images.shape[1] / images.shape[2]
    cell = 1.55
    figure = plt.figure(
        figsize=(columns * cell + 4.0, max(rows * cell * aspect, 3.4) + 1.0),
        layout="constrained",
    )
    scenes, curves = figure.subfigures(1, 2, width_ratios=(columns * cell, 4.0))
    _draw_maps(
        scenes,
        images,
        labels,
        {_title(*item): item[1].predictions for item in results.items()},
        colors,
    )
    scenes.legend(
        handles=[
            Patch(facecolor=np.divide(color, 255), label=name)
            for name, color in zip(class_names, colors, strict=True)
        ],
        loc="outside lower center",
        ncols=6,
        fontsize=7,
        frameon=False,
    )
    _draw_curves(curves, results, curve, unit)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_grid(path, images, labels, predictions, colors):
    """Writes a PNG with maps only; `predictions` (N, H, W) by their titles."""
    columns = 2 + len(predictions)
    rows = len(next(iter(predictions.values())))
    aspect = images.shape[1] / images.shape[2]
    size = columns * 1.8, rows * 1.8 * aspect + 0.5
    figure = plt.figure(figsize=size, layout="constrained")
    _draw_maps(figure, images[:rows], labels[:rows], predictions, colors)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _draw_maps(figure, images, labels, predictions, colors):
    """A row for each image: itself, the truth, the predictions."""
    grid = figure.subplots(len(images), 2 + len(predictions), squeeze=False)
    palette = np.full((256, 3), VOID_COLOR, "uint8")
    palette[: len(colors)] = colors
    for row, axes in enumerate(grid):
        axes[0].imshow(images[row])
        axes[1].imshow(palette[labels[row]])
        for axis, ids in zip(axes[2:], predictions.values(), strict=True):
            axis.imshow(palette[ids[row]])
        for axis in axes:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
    titles = ["image", "truth (white: void)", *predictions]
    for axis, title in zip(grid[0], titles, strict=True):
        axis.set_title(title, fontsize=9)


def _title(name, result):
    """One line if it fits above a picture."""
    separator = ": " if len(name) < 9 else "\n"
    return f"{name}{separator}mIoU {result.mean_iou:.2f}"


def _draw_curves(figure, results, curve, unit):
    """The training loss over its first value, and the curve below."""
    key, title = curve
    upper, lower = figure.subplots(2, 1, sharex=True)
    for name, result in results.items():
        loss = np.asarray(result.history["loss"])
        count = np.arange(1, len(loss) + 1)
        style = "o-" if len(loss) < 20 else "-"
        upper.plot(count, loss / loss[0], style, markersize=3)
        lower.plot(count, result.history[key], style, markersize=3, label=name)
    upper.set_title(f"training loss / that of the first {unit}", fontsize=9)
    lower.set_title(title, fontsize=9)
    lower.set_xlabel(unit, fontsize=9)
    lower.xaxis.get_major_locator().set_params(integer=True)
    lower.legend(fontsize=9, frameon=False)
    for axis in (upper, lower):
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
