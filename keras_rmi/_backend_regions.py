"""Regions as the columns of a matrix: made, multiplied, whitened.

Like `_backend`, a file that names backends.
"""

from keras import ops

from keras_rmi._backend import constant, full_precision, matmul, reshape
from keras_rmi._backend_choice import BACKEND
from keras_rmi._backend_modes import device

# Samples whose products are summed before those of others are added. Torch on
# a CPU adds one term after the other where rows are few, and a GPU may always:
# with 24 rows of 18000, as the edge of `test_rmi_shapes` has, cuBLAS lost what
# a Cholesky decomposition needs.
_FEW_ROWS, _PIECE = 16, 2**10


def samples(maps, count, memory):
    """Matrix of all regions, and a 1: (...,k*count+1,h*w).

    `maps` are `count` triples (operation, a, b) that give maps (...,k,h,w);
    a column holds the entries of a region in the k kinds of maps. On torch
    each map is written where it belongs, and `memory`, a dict, keeps the
    matrix for the next one of its shape: fresh memory costs more than what is
    written into it. XLA on a CPU multiplies twice as fast where a region lies
    in one piece, so there the matrix is its transpose.
    """
    if BACKEND != "torch":
        maps = [operation(a, b) for operation, a, b in maps]
        kinds = range(maps[0].shape[-3])
        maps = [m[..., kind, :, :] for kind in kinds for m in maps]
        z = ops.stack([*maps, ops.ones_like(maps[0])], axis=-1)
        *leading, height, width, size = ops.shape(z)
        return reshape(z, (*leading, height * width, size))
    import torch

    operations = {ops.add: torch.add, ops.subtract: torch.sub}
    for index, (operation, a, b) in enumerate(maps):
        if index == 0:
            *leading, kinds, height, width = a.shape
            shape = (*leading, kinds * count + 1, height * width)
            z = _fresh_or_kept(memory, shape, a)
            z[..., -1, :] = 1.0
            rows = z[..., :-1, :].unflatten(-1, (height, width))
            rows = rows.unflatten(-3, (kinds, count))
        operations[operation](a, b, out=rows[..., index, :, :])
    return z


def _fresh_or_kept(memory, shape, like):
    """An array to write to; the last of a row of groups may be smaller."""
    count, *rest = shape
    kept = memory.get(tuple(rest))
    if kept is None or kept.shape[0] < count:
        kept = memory[tuple(rest)] = like.new_empty(shape)
    return kept[:count]


def second_moments(z):
    """Products Z Z' of `samples`; the last row holds sums and their number.

    Torch is slow where the number of rows is no multiple of eight, so there
    the row of ones is left out and the sums come apart.
    """
    if BACKEND != "torch":
        if device(z) == "gpu":
            z = _pieces(z, -2)
            return ops.sum(matmul(ops.swapaxes(z, -1, -2), z), axis=-3)
        return matmul(ops.swapaxes(z, -1, -2), z)
    rows = z[..., :-1, :]
    return _with_sums(rows, _product_of_rows(rows))


def second_moments_of(matrix, z):
    """The same of `matrix` times `samples`.

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
    """Product with `samples`, (...,m,h*w); `memory` as there."""
    if BACKEND != "torch":
        return matmul(matrix, ops.swapaxes(z, -1, -2))
    import torch

    out = _fresh_or_kept(memory, (*matrix.shape[:-1], z.shape[-1]), z)
    with full_precision():
        return torch.matmul(matrix, z, out=out)


def inverse_lower(factor):
    """Inverse of lower triangular matrices (..., n, n).

    Forward substitution as a loop: XLA takes 2 s on a CPU to compile
    `ops.solve_triangular` for matrices of 18 x 18, and 0.2 s for this.
    """
    size = factor.shape[-1]
    identity = ops.eye(size, dtype="float32")
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
