"""The pictures of docs/mathematics.md, from what `scene` finds."""

import matplotlib

matplotlib.use("Agg")  # no window, and none is needed

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse, Rectangle
from scene import RADIUS

import keras_rmi

BLUE, ORANGE, GREEN = "#2a6fb0", "#e08214", "#3a8f5c"
MAP = {"cmap": "gray", "vmin": 0, "vmax": 1}


def regions(path, found):
    """A region of both maps, and the two vectors that it becomes."""
    figure, axes = plt.subplots(
        1, 4, figsize=(10, 2.9), layout="constrained", width_ratios=(1, 1, 1, 1)
    )
    maps = [found.mask, *found.after.small]
    titles = [
        "labels, 96 x 96",
        "labels, a third of it",
        "prediction, likewise",
    ]
    row, column = _lively(found.after.small[0])
    for axis, image, title in zip(axes, maps, titles):
        axis.imshow(image, **MAP)
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    vectors = axes[3]
    colours = (BLUE, ORANGE)
    for axis, image, colour, shift in zip(
        axes[1:3], found.after.small, colours, (-0.2, 0.2)
    ):
        corner = (column - 0.5, row - 0.5)
        axis.add_patch(
            Rectangle(corner, RADIUS, RADIUS, fill=False, ec=colour, lw=2)
        )
        patch = image[row : row + RADIUS, column : column + RADIUS].ravel()
        vectors.bar(np.arange(1, 10) + shift, patch, 0.4, color=colour)
    vectors.set_title("the region as nine numbers", fontsize=9)
    vectors.set_xticks(range(1, 10))
    vectors.set_ylim(0, 1)
    _finish(figure, [vectors], path)


def _lively(image):
    """Corner of the region in which the labels differ most."""
    rows, columns = (length - RADIUS + 1 for length in image.shape)
    spread = [
        (image[i : i + RADIUS, j : j + RADIUS].std(), i, j)
        for i in range(rows)
        for j in range(columns)
    ]
    return max(spread)[1:]


def distributions(path, found):
    """Region vectors of both maps, and what is left of the labels'."""
    figure, grid = plt.subplots(
        2,
        2,
        figsize=(8.4, 6.6),
        layout="constrained",
        sharex="row",
        sharey="row",
    )
    columns = zip(("before", "after"), (found.before, found.after), grid.T)
    for name, state, (upper, lower) in columns:
        for vectors, colour, label in (
            (state.labels, BLUE, "labels"),
            (state.predictions, ORANGE, "prediction"),
        ):
            x, y = _plane(vectors)
            upper.plot(x, y, ".", color=colour, ms=4, alpha=0.5, label=label)
        upper.set_title(f"{name} training: region vectors", fontsize=9)
        x, y = _plane(state.left)
        lower.plot(x, y, ".", color=GREEN, ms=4, alpha=0.5)
        lower.add_patch(_ellipse(x, y))
        lower.set_title(
            f"what is left of the labels: value {state.value:.2f}", fontsize=9
        )
        lower.set_xlabel("mean of the nine numbers", fontsize=9)
    for axis in grid[:, 0]:
        axis.set_ylabel("right column less left", fontsize=9)
    legend = grid[0, 0].legend(fontsize=9, markerscale=2, frameon=False)
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    _finish(figure, grid.flat, path)


def _plane(vectors):
    """Two of the nine coordinates: how bright, and how it leans."""
    square = vectors.reshape(-1, RADIUS, RADIUS)
    lean = square[:, :, -1].mean(axis=1) - square[:, :, 0].mean(axis=1)
    return vectors.mean(axis=1), lean


def _ellipse(x, y):
    """Two standard deviations."""
    sizes, axes = np.linalg.eigh(np.cov(x, y))
    angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    width, height = 4 * np.sqrt(sizes[::-1])
    return Ellipse(
        (x.mean(), y.mean()), width, height, angle=angle, fill=False, lw=1.5
    )


def directions(path, found):
    """The nine terms whose mean is the value, before and after."""
    figure, axis = plt.subplots(figsize=(7, 2.9), layout="constrained")
    for name, state, colour, shift in (
        ("before", found.before, ORANGE, -0.2),
        ("after", found.after, BLUE, 0.2),
    ):
        x = np.arange(1, 10) + shift
        label = f"{name} training, mean {state.value:.2f}"
        axis.bar(x, state.directions, 0.4, color=colour, label=label)
        axis.axhline(state.value, color=colour, lw=1, ls="--")
    axis.set_xticks(range(1, 10))
    axis.set_ylim(0, 7.5)
    axis.set_xlabel("direction, from the largest to the smallest", fontsize=9)
    axis.set_ylabel("½ ln(1 + λ / a)", fontsize=9)
    axis.legend(fontsize=9, frameon=False)
    _finish(figure, [axis], path)


def structure(path, mask):
    """Predictions with equally many wrong pixels and what losses say."""
    figure, axes = plt.subplots(1, 4, figsize=(10, 3.1), layout="constrained")
    axes[0].imshow(mask, **MAP)
    axes[0].set_title("labels", fontsize=9)
    for axis, (name, wrong) in zip(axes[1:], _mistakes(mask).items()):
        prediction = np.where(wrong, 1 - mask, mask)
        axis.imshow(prediction, **MAP)
        pixel, region = _losses(mask, prediction)
        axis.set_title(
            f"{name}\n{wrong.sum()} pixels wrong\n"
            f"cross entropy {pixel:.3f}, region {region:.2f}",
            fontsize=9,
        )
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    _finish(figure, [], path)


def _mistakes(mask):
    """Where predictions are wrong, equally often."""
    inside = mask > 0
    distance = _distance(inside)
    order = np.argsort(np.where(inside, np.inf, distance), axis=None)
    piece = _one_object(inside)
    count = int(piece.sum())
    thick = np.zeros(mask.size, bool)
    thick[order[:count]] = True
    anywhere = np.zeros(mask.size, bool)
    chosen = np.random.default_rng(0).permutation(mask.size)[:count]
    anywhere[chosen] = True
    return {
        "an object is missing": piece,
        "strokes are too thick": thick.reshape(mask.shape),
        "mistakes anywhere": anywhere.reshape(mask.shape),
    }


def _distance(inside):
    """Distance of each pixel to the nearest one inside."""
    points = np.argwhere(inside)
    grid = np.indices(inside.shape).transpose(1, 2, 0)
    squares = (grid[:, :, None] - points[None, None]) ** 2
    return np.sqrt(squares.sum(axis=-1).min(axis=-1))


def _one_object(inside):
    """The pixels that hang together with the first one."""
    piece = np.zeros_like(inside)
    piece[tuple(np.argwhere(inside)[0])] = True
    while True:
        grown = np.pad(piece, 1)
        grown = sum(
            grown[1 + i : len(grown) - 1 + i, 1 + j : grown.shape[1] - 1 + j]
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        )
        grown = (grown > 0) & inside
        if (grown == piece).all():
            return piece
        piece = grown


def _losses(mask, prediction):
    """Cross entropy and region term, for a prediction that is 95 % sure."""
    probability = (0.05 + 0.9 * prediction)[None, ..., None]
    return (
        float(keras_rmi.RMILoss(rmi_weight=weight)(mask[None], probability))
        for weight in (0.0, 1.0)
    )


def _finish(figure, axes, path):
    for axis in axes:
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
