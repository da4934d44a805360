"""Published down-sampling in float64, each with its adjoint.

Every function takes maps (N, H, W, C) and returns the small maps and a
function that carries a gradient on the small maps back to the large ones.
"""

import numpy as np


def as_pair(value):
    return tuple(value) if np.ndim(value) else (int(value), int(value))


def averaging_matrix(size, factor):
    """(out, size): means over windows that count the padded zeros."""
    padding = factor // 2
    out = (size + 2 * padding - factor) // factor + 1
    matrix = np.zeros((out, size))
    for row in range(out):
        start = row * factor - padding
        matrix[row, max(start, 0) : start + factor] = 1.0 / factor
    return matrix


def bilinear_matrix(size, factor):
    """(size // factor, size): linear interpolation, corners aligned."""
    out = size // factor
    matrix = np.zeros((out, size))
    for row in range(out):
        position = row * (size - 1) / (out - 1) if out > 1 else 0.0
        low = min(int(position), size - 1)
        high = min(low + 1, size - 1)
        matrix[row, low] += 1.0 - (position - low)
        matrix[row, high] += position - low
    return matrix


def nearest_matrix(size, factor):
    """(size // factor, size): the cell at floor(row * size / out)."""
    out = size // factor
    matrix = np.zeros((out, size))
    matrix[np.arange(out), np.arange(out) * size // out] = 1.0
    return matrix


def apply_separable(maps, row_matrix, column_matrix):
    rows = np.einsum("ih,nhwc->niwc", row_matrix, maps, optimize=True)
    small = np.einsum("jw,niwc->nijc", column_matrix, rows, optimize=True)

    def adjoint(gradient):
        wide = np.einsum(
            "jw,nijc->niwc", column_matrix, gradient, optimize=True
        )
        return np.einsum("ih,niwc->nhwc", row_matrix, wide, optimize=True)

    return small, adjoint


def max_pool(maps, factors):
    """Maxima over windows; the padding never wins."""
    batch, height, width, channels = maps.shape
    (rows, columns) = factors
    (top, left) = (rows // 2, columns // 2)
    out_rows = (height + 2 * top - rows) // rows + 1
    out_columns = (width + 2 * left - columns) // columns + 1
    shape = (batch, out_rows * rows, out_columns * columns, channels)
    canvas = np.full(shape, -np.inf)
    kept_rows = min(height, shape[1] - top)
    kept_columns = min(width, shape[2] - left)
    inside = np.s_[:, top : top + kept_rows, left : left + kept_columns]
    canvas[inside] = maps[:, :kept_rows, :kept_columns]

    split = (batch, out_rows, rows, out_columns, columns, channels)
    order = (0, 1, 3, 5, 2, 4)
    windows = canvas.reshape(split).transpose(order)
    flat = windows.reshape(*windows.shape[:4], rows * columns)
    winner = flat.argmax(axis=-1)[..., None]
    small = np.take_along_axis(flat, winner, axis=-1)[..., 0]

    def adjoint(gradient):
        spread = np.zeros_like(flat)
        np.put_along_axis(spread, winner, gradient[..., None], axis=-1)
        spread = spread.reshape(windows.shape)
        spread = spread.transpose(np.argsort(order)).reshape(shape)
        large = np.zeros_like(maps)
        large[:, :kept_rows, :kept_columns] = spread[inside]
        return large

    return small, adjoint


def downsample(maps, pooling, pool_size, interpolation="bilinear"):
    maps = np.asarray(maps, "float64")
    if pooling is None:
        return maps, lambda gradient: gradient
    factors = as_pair(pool_size)
    if pooling == "max":
        return max_pool(maps, factors)
    matrix = averaging_matrix
    if pooling == "interpolate":
        matrix = {"bilinear": bilinear_matrix, "nearest": nearest_matrix}[
            interpolation
        ]
    elif pooling != "avg":
        raise ValueError(f"unknown pooling {pooling!r}")
    row_matrix = matrix(maps.shape[1], factors[0])
    column_matrix = matrix(maps.shape[2], factors[1])
    return apply_separable(maps, row_matrix, column_matrix)
