"""Regions as the columns of a matrix: made, multiplied, whitened.

Like `_backend`, a file that names backends.
"""

import numpy as np
from keras import ops

from keras_rmi._backend import constant, full_precision, matmul, reshape
from keras_rmi._backend_choice import BACKEND
from keras_rmi._backend_modes import device
from keras_rmi._backend_windows import shift

# Samples whose products are summed before those of others are added. Torch on
# a CPU adds one term after the other where rows are few, and a GPU may always:
# with 24 rows of 18000, as the edge of `test_rmi_shapes` has, cuBLAS lost what
# a Cholesky decomposition needs.
_FEW_ROWS, _PIECE = 16, 2**10


def samples(planes, radius, step, memory):
    """Coordinates of the groups of planes (...,k,h,w), as a matrix.

    A group is `step` regions, one below the other: S = R + step - 1 rows of
    pixels, S * R coordinates; there are n = g * w' of them, with
    `g = (h - R + 1) // step` and `w' = w - R + 1`.
    Coordinate (a, b) is the correlation with the coefficients of
    (1 + z)^(S-1-a) (1 - z)^a along the rows, and the same for R and b along
    the columns: a sum of neighbours, smooth content, for a = b = 0, and
    differences of order a + b otherwise. They come from sums and differences
    of neighbours alone, so what is small is computed as a small number. The
    order is (b,a,plane), as it comes where each filter is made of all that the
    filters along the other axis have.

    On torch the matrix is (...,R*S*k,n). XLA shares a product out over the
    cores of a CPU where a group lies in one piece, so there it is
    (...,n,R*S*k+1), with a last column of ones, whose products are the sums.
    """
    rows, columns = radius
    if BACKEND == "torch":
        x = planes[..., None, :, :, :]
        x = _stages(x, rows + step - 1, -2, step)
        x = x.flatten(-4, -3)[..., None, :, :, :]
        x = _stages(x, columns, -1, memory=memory)
        return x.flatten(-4, -3).flatten(-2)
    x = ops.moveaxis(planes, -3, -1)
    x = ops.concatenate(_filters(x, rows + step - 1, -3, step), axis=-1)
    x = ops.concatenate(_filters(x, columns, -2), axis=-1)
    *leading, height, width, size = ops.shape(x)
    x = reshape(x, (*leading, height * width, size))
    return ops.concatenate([x, ops.ones_like(x[..., :1])], axis=-1)


def _filters(x, size, axis, stride=1):
    """Binomial filters of `x` along `axis`, a list.

    The planes come in the last axis, and so does what is made of them: with a
    map for each filter of each plane, XLA takes half as long again to compile.
    """
    axis = axis + len(x.shape)
    found = [x]
    for length in range(2, size + 1):
        every = stride if length == size else 1
        pairs = [
            (shift(f, 0, 2, axis, every), shift(f, 1, 2, axis, every))
            for f in found
        ]
        found = [a + b for a, b in pairs]
        found.append(pairs[-1][0] - pairs[-1][1])
    return found


def _stages(x, size, axis, stride=1, memory=None):
    """The same on torch, of (...,1,k,h,w): (...,size,k,h,w).

    A stage of all filters is two operations, written where they belong. The
    last stage goes to `memory`, a dict, where that of the same shape was
    before: fresh memory costs more than what is written into it.
    """
    import torch

    axis = axis + x.ndim
    for length in range(2, size + 1):
        every = stride if length == size else 1
        a, b = shift(x, 0, 2, axis, every), shift(x, 1, 2, axis, every)
        *leading, _, planes, height, width = a.shape
        shape = (*leading, length, planes, height, width)
        kept = memory if memory is not None and length == size else {}
        x = _fresh_or_kept(kept, shape, a)
        torch.add(a, b, out=x.narrow(-4, 0, length - 1))
        last = [y.narrow(-4, length - 2, 1) for y in (a, b)]
        torch.sub(*last, out=x.narrow(-4, length - 1, 1))
    return x


def _fresh_or_kept(memory, shape, like):
    """An array to write to; the last of a row of groups may be smaller."""
    count, *rest = shape
    kept = memory.get(tuple(rest))
    if kept is None or kept.shape[0] < count:
        kept = memory[tuple(rest)] = like.new_empty(shape)
    return kept[:count]


def second_moments(z):
    """[Z Z', sums; sums', n] of `samples`.

    Torch is slow where the number of rows is no multiple of eight, so there
    the sums come apart.
    """
    if BACKEND == "torch":
        return _with_sums(z, _product_of_rows(z))
    if device(z) == "gpu":
        z = _pieces(z, -2)
        return ops.sum(matmul(ops.swapaxes(z, -1, -2), z), axis=-3)
    return matmul(ops.swapaxes(z, -1, -2), z)


def second_moments_of(matrix, z):
    """The same of `transform`.

    The sums come apart: those of a product add one term after the other.
    """
    y = transform(matrix, z, {})
    return _with_sums(y, _product_of_rows(y))


def _product_of_rows(rows):
    """Z Z'; off by 1e-5 for 8 rows of 260000 on torch, and 6e-7 in pieces."""
    if device(rows) == "gpu":
        rows = _pieces(rows, -1)
        return ops.sum(matmul(rows, ops.swapaxes(rows, -1, -2)), axis=-3)
    pieces = (rows,)
    if BACKEND == "torch" and rows.shape[-2] < _FEW_ROWS:
        pieces = rows.split(_PIECE, -1)
    products = [matmul(z, ops.swapaxes(z, -1, -2)) for z in pieces]
    return products[0] if len(products) == 1 else sum(products)


def _pieces(z, axis):
    """Samples along `axis`, -1 or -2, in pieces: (...,pieces,a,b).

    The last piece ends with zeros. On torch it is the only copy of `z`, which
    a product of what is not contiguous would make twice.
    """
    *leading, rows, columns = ops.shape(z)
    size = columns if axis == -1 else rows
    if BACKEND == "torch":
        whole, rest = divmod(size, _PIECE)
        pieces = z.new_empty((*leading, whole + (rest > 0), rows, _PIECE))
        cut = whole * _PIECE
        parts = z[..., :cut].unflatten(-1, (whole, _PIECE))
        pieces[..., :whole, :, :] = parts.transpose(-2, -3)
        if rest:
            pieces[..., whole, :, :rest] = z[..., cut:]
            pieces[..., whole, :, rest:] = 0.0
        return pieces
    shape = [*leading, rows, columns]
    shape[axis] = -size % _PIECE
    z = ops.concatenate([z, ops.zeros(shape, dtype="float32")], axis=axis)
    count = (size + _PIECE - 1) // _PIECE
    if axis == -2:
        return reshape(z, (*leading, count, _PIECE, columns))
    z = reshape(z, (*leading, rows, count, _PIECE))
    return ops.swapaxes(z, -2, -3)


def _with_sums(rows, products):
    """Products of rows and of a last row of ones."""
    sums = ops.sum(rows, axis=-1)[..., None]
    count = constant(ops.shape(rows)[-1], sums)
    count = ops.zeros_like(sums[..., :1, :]) + count
    above = ops.concatenate([products, sums], axis=-1)
    below = ops.concatenate([ops.swapaxes(sums, -1, -2), count], axis=-1)
    return ops.concatenate([above, below], axis=-2)


def transform(matrix, z, memory):
    """`matrix` (...,m,R*S*k+1) times `samples` and a 1: (...,m,n)."""
    if BACKEND != "torch":
        return matmul(matrix, ops.swapaxes(z, -1, -2))
    import torch

    out = _fresh_or_kept(memory, (*matrix.shape[:-1], z.shape[-1]), z)
    linear, offset = matrix[..., :-1], matrix[..., -1:]
    with full_precision():
        return torch.baddbmm(offset, linear, z, out=out)


def inverse_lower(factor):
    """Inverse of lower triangular matrices (..., n, n).

    Forward substitution as a loop: XLA takes 2 s on a CPU to compile
    `ops.solve_triangular` for matrices of 18 x 18, and 0.2 s for this.
    """
    size = factor.shape[-1]
    identity = constant(np.eye(size), factor)
    if BACKEND == "torch":
        identity = ops.broadcast_to(identity, factor.shape)
        return ops.solve_triangular(factor, identity, lower=True)

    def substitute(i, inverse):
        unit = ops.take(identity, i, axis=0)
        row = ops.take(factor, i, axis=-2)
        known = ops.sum(row[..., None] * inverse, axis=-2)
        solved = (unit - known) / ops.take(row, i, axis=-1)[..., None]
        return inverse + unit[:, None] * solved[..., None, :]

    return ops.fori_loop(0, size, substitute, ops.zeros_like(factor))
