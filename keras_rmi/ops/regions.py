"""Square regions of a map, and what their coordinates are made of."""

import functools

import numpy as np
from keras import ops

from keras_rmi import _backend, _backend_windows


def region_vectors(x, radius):
    """Neighbourhoods: (N,H,W,C) -> (N, H-R+1, W-R+1, C, R*R).

    Entry k = row * R_columns + column of the last axis is the pixel that lies
    `row` below and `column` right of the upper left pixel of the region.
    """
    rows, columns = radius
    shifted = [
        _backend_windows.shift(along_rows, j, columns, axis=2)
        for along_rows in (
            _backend_windows.shift(x, i, rows, axis=1) for i in range(rows)
        )
        for j in range(columns)
    ]
    return ops.stack(shifted, axis=-1)


def group_step(radius):
    """How many regions, one below the other, share one set of coordinates.

    The products of a group cost (R + step - 1)^2 / step for each region, the
    least for R - 1: two thirds of a region's own for R = 3, half for R = 5.
    """
    return max(1, radius[0] - 1)


@functools.cache
def binomial_matrix(radius):
    """T with coordinates = T region_vector, (R*R, R*R) NumPy.

    The coordinates are those of `_backend_regions.samples` with one region in
    a group.

    T is no rotation, but close to one: with rows scaled to unit length, T T'
    has a condition number of 4 for R = 3 and 24 for R = 5.
    """
    rows, columns = map(_filters, radius)
    return np.kron(rows, columns)


def _filters(size):
    """Coefficients of (1 + z)^(size-1-a) (1 - z)^a, (size, size) NumPy."""
    return np.stack(
        [
            _polynomial([(1, -1)] * order + [(1, 1)] * (size - 1 - order))
            for order in range(size)
        ]
    )


def _polynomial(factors):
    return functools.reduce(np.convolve, factors, np.ones(1, "float32")).astype(
        "float32"
    )


@functools.cache
def member_matrices(radius, step):
    """A_i: from the coordinates of a group to those of its region i.

    `step` matrices (2d + 1, 2D + 1), NumPy, d = R*R and D = S*R: from those
    of two planes as `_backend_regions.samples` has them, and the 1, to those
    of the first plane, of the second, and the 1. With u = 1 + z and v = 1 - z,
    region i is z^i = (u - v)^i / 2^i of a group whose filters have step - 1
    factors more, all others of which are 1 = (u + v) / 2. So a coordinate is
    made of those of its own and of higher order, which are smaller.
    """
    rows, columns = radius
    size = rows + step - 1
    planes, along_columns = np.eye(2), np.eye(columns)
    found = []
    for i in range(step):
        others = _polynomial([(0.5, -0.5)] * i + [(0.5, 0.5)] * (step - 1 - i))
        along_rows = np.zeros((rows, size))
        for order in range(rows):
            along_rows[order, order : order + step] = others
        parts = planes, along_rows, along_columns
        blocks = np.einsum("pq,as,bc->pabcsq", *parts)
        matrix = np.zeros((2 * rows * columns + 1, 2 * size * columns + 1))
        matrix[:-1, :-1] = blocks.reshape(len(matrix) - 1, -1)
        matrix[-1, -1] = 1.0
        found.append(matrix.astype("float32"))
    return found


def overlap_add(vectors, radius, step=1):
    """Adjoint of taking groups: (..., S*R, g, w') -> (..., h, w).

    `h = g * step + R - 1`: rows below the last group are not there.
    """
    rows, columns = radius
    size = rows + step - 1
    shape = ops.shape(vectors)
    vectors = _backend.reshape(
        vectors, (*shape[:-3], size, columns, *shape[-2:])
    )
    parts = [vectors[..., k, :, :] for k in range(columns)]
    parts = _backend_windows.add_shifted(parts, axis=-1)  # (..., S, g, w)
    if step == 1:
        parts = [parts[..., k, :, :] for k in range(size)]
        return _backend_windows.add_shifted(parts, axis=-2)
    # Row k of a group is row k % step of the group that is k // step below.
    count = -(-size // step)
    phases = []
    for k in range(step):
        phase = [parts[..., i, :, :] for i in range(k, size, step)]
        phases.append(_backend_windows.add_shifted(phase, axis=-2, count=count))
    planes = ops.stack(phases, axis=-2)  # (..., g + count - 1, step, w)
    shape = ops.shape(planes)
    planes = _backend.reshape(
        planes, (*shape[:-3], shape[-3] * step, shape[-1])
    )
    return planes[..., : rows - 1 - (count - 1) * step or None, :]
