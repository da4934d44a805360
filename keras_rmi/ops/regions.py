"""Square regions of a map, and the coordinates in which they decorrelate."""

import math

import numpy as np
from keras import ops


def region_vectors(x, radius):
    """Neighbourhoods: (N,H,W,C) -> (N, H-R+1, W-R+1, C, R*R).

    Entry k = row * R_columns + column of the last axis is the pixel that lies
    `row` below and `column` right of the upper left pixel of the region.
    """
    rows, columns = radius
    shifted = [
        shift(shift(x, i, rows, axis=1), j, columns, axis=2)
        for i in range(rows)
        for j in range(columns)
    ]
    return ops.stack(shifted, axis=-1)


def shift(x, offset, length, axis):
    """The part of `x` that starts at `offset` for windows of `length`."""
    end = offset - length + 1
    index = [slice(None)] * len(x.shape)
    index[axis] = slice(offset, end if end < 0 else None)
    return x[tuple(index)]


def dct_matrix(size):
    """Orthonormal DCT-II basis as rows, (size, size) nested floats."""
    i = np.arange(size)
    basis = np.cos(np.pi / size * np.outer(i, i + 0.5))
    basis *= math.sqrt(2.0 / size)
    basis[0] /= math.sqrt(2.0)
    return basis.tolist()


def decorrelate(planes, radius):
    """DCT of every region: (..., h, w) -> (..., R*R, h-R+1, w-R+1).

    Separable: R-tap filters along the rows, then along the columns. Smooth
    content goes into the first coefficient; what is left is small and is
    computed as small numbers, not as differences of large ones.
    """
    coefficients = [
        _filter(along_rows, taps, axis=-1)
        for along_rows in _filter_bank(planes, radius[0], axis=-2)
        for taps in dct_matrix(radius[1])
    ]
    return ops.stack(coefficients, axis=-3)


def decorrelate_transposed(coefficients, radius):
    """Adjoint of `decorrelate`: (..., R*R, h', w') -> (..., h'+R-1, w'+R-1)."""
    rows, columns = radius
    along_rows = [
        _scatter_bank(
            [coefficients[..., a * columns + b, :, :] for b in range(columns)],
            columns,
            axis=-1,
        )
        for a in range(rows)
    ]
    return _scatter_bank(along_rows, rows, axis=-2)


def _filter_bank(x, size, axis):
    return [_filter(x, taps, axis) for taps in dct_matrix(size)]


def _filter(x, taps, axis):
    """Correlation of `x` with `taps` along `axis`, valid part only."""
    axis = axis + len(x.shape)
    return sum(
        tap * shift(x, offset, len(taps), axis)
        for offset, tap in enumerate(taps)
        if abs(tap) > 1e-12
    )


def _scatter_bank(planes, size, axis):
    """Adjoint of `_filter_bank` along `axis`."""
    axis = axis + len(planes[0].shape)
    total = None
    for offset, taps in enumerate(zip(*dct_matrix(size))):
        mixed = sum(
            tap * plane
            for tap, plane in zip(taps, planes)
            if abs(tap) > 1e-12
        )
        padding = [(0, 0)] * len(mixed.shape)
        padding[axis] = (offset, size - 1 - offset)
        placed = ops.pad(mixed, padding) if size > 1 else mixed
        total = placed if total is None else total + placed
    return total
