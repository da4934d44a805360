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


def sums_and_last_difference(a, b, memory=None):
    """Of filtered maps (...,k,h,w): a + b, and a - b of the last, k + 1 maps.

    Torch writes them where they belong, with `memory`, a dict, where those of
    the same shape were before: fresh memory costs more than what is written
    into it.
    """
    last = (..., slice(-1, None), slice(None), slice(None))
    if BACKEND != "torch":
        return ops.concatenate([a + b, a[last] - b[last]], axis=-3)
    import torch

    *leading, count, height, width = a.shape
    shape = (*leading, count + 1, height, width)
    result = _fresh_or_kept({} if memory is None else memory, shape, a)
    torch.add(a, b, out=result[..., :-1, :, :])
    torch.sub(a[last], b[last], out=result[last])
    return result


def _fresh_or_kept(memory, shape, like):
    """An array to write to; the last of a row of groups may be smaller."""
    count, *rest = shape
    kept = memory.get(tuple(rest))
    if kept is None or kept.shape[0] < count:
        kept = memory[tuple(rest)] = like.new_empty(shape)
    return kept[:count]


def second_moments(z):
    """[Z Z', sums; sums', n] of n samples (...,m,h,w): (...,m+1,m+1).

    The sums come apart: a row of ones would cost as much as it is long, and
    its products add one term after the other. So does XLA, so rows are summed
    first, as means: it makes one sum of two.
    """
    height, width = ops.shape(z)[-2:]
    sums = ops.sum(ops.mean(z, axis=-1), axis=-1)[..., None]
    sums = sums * constant(width, sums)
    count = ops.zeros_like(sums[..., :1, :]) + constant(height * width, sums)
    products = _product_of_rows(_flat(z))
    above = ops.concatenate([products, sums], axis=-1)
    below = ops.concatenate([ops.swapaxes(sums, -1, -2), count], axis=-1)
    return ops.concatenate([above, below], axis=-2)


def _product_of_rows(rows):
    """Z Z'; off by 1e-5 for 8 rows of 260000 on torch, and 6e-7 in pieces."""
    if device(rows) == "gpu":
        rows = _pieces(rows)
        return ops.sum(matmul(rows, ops.swapaxes(rows, -1, -2)), axis=-3)
    pieces = (rows,)
    if BACKEND == "torch" and rows.shape[-2] < _FEW_ROWS:
        pieces = rows.split(_PIECE, -1)
    products = [matmul(z, ops.swapaxes(z, -1, -2)) for z in pieces]
    return products[0] if len(products) == 1 else sum(products)


def _pieces(rows):
    """Rows (...,m,n) in pieces, which end with zeros: (...,pieces,m,_PIECE).

    On torch it is the only copy of them, which a product of what is not
    contiguous would make twice.
    """
    *leading, count, size = ops.shape(rows)
    if BACKEND == "torch":
        whole, rest = divmod(size, _PIECE)
        pieces = rows.new_empty((*leading, whole + (rest > 0), count, _PIECE))
        cut = whole * _PIECE
        parts = rows[..., :cut].unflatten(-1, (whole, _PIECE))
        pieces[..., :whole, :, :] = parts.transpose(-2, -3)
        if rest:
            pieces[..., whole, :, :rest] = rows[..., cut:]
            pieces[..., whole, :, rest:] = 0.0
        return pieces
    filling = ops.zeros((*leading, count, -size % _PIECE), dtype="float32")
    rows = ops.concatenate([rows, filling], axis=-1)
    number = (size + _PIECE - 1) // _PIECE
    rows = reshape(rows, (*leading, count, number, _PIECE))
    return ops.swapaxes(rows, -2, -3)


def transform(matrix, z, memory):
    """`matrix` (...,k,m+1) times samples (...,m,h,w) and a 1: (...,k,h,w).

    `memory` is that of `sums_and_last_difference`.
    """
    linear, offset = matrix[..., :-1], matrix[..., -1:]
    rows = _flat(z)
    if BACKEND != "torch":
        y = matmul(linear, rows) + offset
    else:
        import torch

        shape = (*linear.shape[:-1], rows.shape[-1])
        y = _fresh_or_kept(memory, shape, rows)
        with full_precision():
            torch.baddbmm(offset, linear, rows, out=y)
    return reshape(y, (*ops.shape(y)[:-1], *ops.shape(z)[-2:]))


def _flat(z):
    """Samples (...,m,h,w) as rows (...,m,h*w)."""
    *leading, height, width = ops.shape(z)
    return reshape(z, (*leading, height * width))


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
