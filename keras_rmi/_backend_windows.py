"""Windows of maps: reduced, repeated, and added where they overlap.

Like `_backend`, a file that names backends.
"""

import functools
import math

from keras import ops

from keras_rmi._backend import concatenate, one_hot, pad, reshape
from keras_rmi._backend_choice import BACKEND
from keras_rmi._backend_modes import op_by_op


def pool(read, maps, factors, sides, average, fill):
    """Average or maximum of windows of `read(*maps)`: (N,H,W,..) to (N,h,w,..).

    `sides` are the cells outside of the maps above and below; left and right
    there are k // 2. They are `fill`, or not there where sizes are known:
    then whole windows are a view and those at the border come apart, so that
    nothing is padded. Torch makes `read(*maps)` once. Where code is compiled
    each row of the windows is read on its own: XLA would write a map that
    several slices read, and on a CPU its own pooling copies the map first.
    """
    rows, columns = factors
    if op_by_op():
        maps, read = (read(*maps),), _same
    x = _reduce_windows(read, maps, 1, rows, sides, average, fill)
    sides = (columns // 2, columns // 2)
    x = _reduce_windows(_same, (x,), 2, columns, sides, average, fill)
    return x / (rows * columns) if average else x


def _same(x):
    return x


def _reduce_windows(read, maps, axis, factor, sides, average, fill):
    """Sum or maximum of `factor` entries along `axis`."""
    if factor == 1:
        return read(*maps)
    reduce = ops.add if average else ops.maximum
    unknown = maps[0].shape[axis] is None
    if unknown:
        maps, sides = [_pad_axis(x, axis, *sides, fill) for x in maps], (0, 0)
    length = ops.shape(maps[0])[axis]
    begin = min(factor - sides[0], length) if sides[0] else 0
    count = (length - begin) // factor
    end = begin + count * factor

    def part(start, stop, step=1):
        index = (slice(None),) * axis + (slice(start, stop, step),)
        return read(*(x[index] for x in maps))

    def at_border(start, stop):
        entries = [part(i, i + 1) for i in range(start, stop)]
        return functools.reduce(reduce, entries)

    windows = [at_border(0, begin)] if begin else []
    if op_by_op() and count:
        x = part(begin, end).unflatten(axis, (count, factor))
        windows.append(
            ops.sum(x, axis + 1) if average else ops.max(x, axis + 1)
        )
    elif unknown or count:
        entries = [part(begin + i, end, factor) for i in range(factor)]
        windows.append(functools.reduce(reduce, entries))
    if sides[1] and length - end + sides[1] >= factor:
        windows.append(at_border(end, length))
    return concatenate(windows, axis)


def _pad_axis(x, axis, before, after, fill):
    sides = [(0, 0)] * len(x.shape)
    sides[axis] = (before, after)
    return pad(x, sides, fill)


def count_ids(ids, num_classes, factors, size):
    """Pixels of each class in windows: (N,H,W) to (N,h,w,C), float32.

    The ids are -1 to C-1, -1 for none, and `size` is (h,w); there are k // 2
    cells of no class around the map. On torch each pixel adds 1 to its count,
    which is exact in any order, in a few operations; XLA would add them one
    after the other, and there one-hot maps of the k * k offsets are added.
    https://docs.pytorch.org/docs/stable/generated/torch.Tensor.scatter_add_.html
    """
    if BACKEND == "torch":
        return _scattered_ones(ids, num_classes, factors, size)
    (rows, columns), (height, width) = factors, size
    ids = pad(ids, [(0, 0), *((k // 2, k // 2) for k in factors)], -1)
    hits = (
        one_hot(
            ids[
                :,
                i : i + (height - 1) * rows + 1 : rows,
                j : j + (width - 1) * columns + 1 : columns,
            ],
            num_classes,
        )
        for i in range(rows)
        for j in range(columns)
    )
    return functools.reduce(ops.add, hits)


def _scattered_ones(ids, num_classes, factors, size):
    """`count_ids` on torch."""
    import torch

    height, width = (
        k * count - k // 2 for k, count in zip(factors, size, strict=True)
    )
    ids = ids[:, :height, :width]
    # The offset of each pixel's window in what is counted.
    row, column = (
        (torch.arange(length, device=ids.device) + k // 2) // k
        for length, k in zip(ids.shape[1:], factors, strict=True)
    )
    window = (row[:, None] * size[1] + column) * num_classes
    ones = (ids >= 0).float()
    counts = ones.new_zeros(ids.shape[0], math.prod(size) * num_classes)
    index = ids.clamp(min=0) + window
    counts.scatter_add_(1, index.flatten(1), ones.flatten(1))
    return counts.unflatten(1, (*size, num_classes))


def shift(x, offset, length, axis, stride=1):
    """The part of `x` that starts at `offset` for windows of `length`."""
    end = offset - length + 1
    index = [slice(None)] * len(x.shape)
    index[axis] = slice(offset, end if end < 0 else None, stride)
    return x[tuple(index)]


def repeat_rows(x, factor, skip, length):
    """Each row of (N,h,W,C) `factor` times, of these `length` from `skip`.

    The result is (N,m,q,W,C): on torch, where whole rows are repeated, m = h
    and q = 1 stands for all repetitions; otherwise m = length.
    """
    n, height, width, channels = ops.shape(x)
    x = x[:, :, None]
    if op_by_op() and skip == 0 and length == height * factor:
        return x
    x = ops.broadcast_to(x, (n, height, factor, width, channels))
    x = reshape(x, (n, height * factor, width, channels))
    return x[:, skip : skip + length, None]


def add_rows(x, rows, start):
    """`x` (...,h,w) with `rows` added to its rows from `start` to the end.

    On torch in place.
    """
    if BACKEND == "torch":
        x[..., start:, :] += rows
        return x
    return ops.concatenate(
        [x[..., :start, :], x[..., start:, :] + rows], axis=-2
    )


def add_shifted(parts, axis, count=None):
    """Sum of equal arrays, the k-th moved by k along `axis`.

    The result is longer by `count - 1`. On torch they are added in place.
    """
    count = len(parts) if count is None else count
    axis = axis + len(parts[0].shape)
    if BACKEND == "torch":
        import torch

        length = parts[0].shape[axis]
        shape = list(parts[0].shape)
        shape[axis] = length + count - 1
        total = torch.zeros(shape, dtype=parts[0].dtype, device=parts[0].device)
        for k, part in enumerate(parts):
            total.narrow(axis, k, length).add_(part)
        return total
    total = None
    for k, part in enumerate(parts):
        padding = [(0, 0)] * len(part.shape)
        padding[axis] = (k, count - 1 - k)
        part = pad(part, padding) if count > 1 else part
        total = part if total is None else total + part
    return total
