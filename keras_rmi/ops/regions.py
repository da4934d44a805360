"""Square regions of a map, and the coordinates in which they decorrelate."""

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


def binomial_coefficients(planes, radius):
    """Yields coordinates of every region: (..., h, w) -> (..., h', w').

    `h' = h - R + 1`, `w' = w - R + 1`. Coordinate (a, b) of a region is its
    correlation with the coefficients of (1 + z)^(R-1-a) (1 - z)^a along the
    rows and the same with b along the columns: a sum of neighbours, smooth
    content, for a = b = 0, and differences of order a + b otherwise. They
    come from sums and differences of neighbours alone, so what is small is
    computed as a small number.
    """
    for row in _cascade(planes, radius[0], axis=-2):
        yield from _cascade(row, radius[1], axis=-1)


def _cascade(x, size, axis):
    """The `size` binomial filters of `x` along `axis`."""
    axis = axis + len(x.shape)
    filtered = [x]
    for _ in range(size - 1):
        pairs = [(shift(f, 0, 2, axis), shift(f, 1, 2, axis)) for f in filtered]
        filtered = [here + after for here, after in pairs]
        here, after = pairs[-1]
        filtered.append(here - after)
    return filtered


def binomial_matrix(radius):
    """T with `binomial_coefficients = T region_vector`, (R*R, R*R) NumPy.

    `ln |det T| = d ln(2) (R_rows + R_columns - 2) / 2`. T is no rotation, but
    close to one: with rows scaled to unit length, T T' has a condition number
    of 4 for R = 3 and 24 for R = 5.
    """
    rows, columns = (
        np.stack(_cascade(np.eye(size)[None], size, axis=-1))[:, 0, :, 0]
        for size in radius
    )
    return np.kron(rows, columns).astype("float32")


def overlap_add(vectors, radius):
    """Adjoint of taking regions: (..., R*R, h', w') -> (..., h, w)."""
    rows, columns = radius
    shape = ops.shape(vectors)
    vectors = ops.reshape(vectors, (*shape[:-3], rows, columns, *shape[-2:]))
    vectors = _add_shifted(vectors, columns, axis=-3, along=-1)
    return _add_shifted(vectors, rows, axis=-3, along=-2)


def _add_shifted(x, size, axis, along):
    """Sums the entries of `axis`, entry k moved by k along `along`."""
    total = None
    for k in range(size):
        part = x[(..., k, *[slice(None)] * (-axis - 1))]
        padding = [(0, 0)] * len(part.shape)
        padding[along] = (k, size - 1 - k)
        part = ops.pad(part, padding) if size > 1 else part
        total = part if total is None else total + part
    return total
