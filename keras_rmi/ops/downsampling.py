"""Down-sampling of label and probability maps, with the published borders.

Windows (average, maximum): kernel = stride = k, k // 2 cells of padding on
both sides of both axes; the average counts the padded zeros, the maximum
ignores them; windows that do not fit are dropped. Interpolation: no padding,
output size H // k, bilinear with aligned corners or nearest (floor).

Maps are (N,H,W,C); H and W may be unknown, the factors may not.
"""

import math

from keras import ops

from keras_rmi import _backend, _backend_blocks, _backend_windows
from keras_rmi.ops.resizing import bilinear_along, neighbours


def pooled_length(length, factor):
    """Number of windows along an axis."""
    return (length + 2 * (factor // 2) - factor) // factor + 1


class WindowDownsampling:
    """Average or maximum over windows.

    `average` selects the reduction; `pool_size` is a pair (rows, columns).
    """

    def __init__(self, pool_size, average=True):
        self.pool_size = pool_size
        self.average = average

    def output_size(self, size):
        return tuple(
            length if length is None else pooled_length(length, factor)
            for length, factor in zip(size, self.pool_size)
        )

    def __call__(self, x, first=True, last=True):
        """Pools a map, or the block of its rows that is `first`, `last`."""
        fill = 0.0 if self.average else -float("inf")
        return self.reduce(lambda x: x, (x,), first, last, fill)

    def reduce(self, read, maps, first=True, last=True, fill=0.0):
        """Pools `read(*maps)` where cells around the maps are `fill`.

        `read` must make `fill` of `fill`.
        """
        if self.pool_size == (1, 1):
            return read(*maps)
        side = self.pool_size[0] // 2
        sides = (side if first else 0, side if last else 0)
        return _backend_windows.pool(
            read, maps, self.pool_size, sides, self.average, fill
        )

    def one_hot(self, ids, num_classes):
        """Pools the one-hot map of class ids (N,H,W) without making it.

        Ids outside of 0..C-1 are zero rows.
        """
        size = self.output_size(ops.shape(ids)[1:])
        counts = _backend_windows.count_ids(
            ids, num_classes, self.pool_size, size
        )
        if self.average:
            return counts / math.prod(self.pool_size)
        return ops.cast(counts > 0, "float32")

    def row_blocks(self, height, bytes_per_row, like):
        """Ranges of rows that hold whole windows, as (start, stop).

        The first window, which begins outside of the map, has its own.
        """
        factor = self.pool_size[0]
        if height is None:
            return [(0, None)]
        offset = factor // 2
        begin = factor - offset if offset else 0
        covered = pooled_length(height, factor) * factor - offset - begin
        cuts = _backend_blocks.row_blocks(covered, factor, bytes_per_row, like)
        if len(cuts) <= 1:
            return [(0, height)]
        starts = sorted({0, *(begin + start for start, _ in cuts)})
        return list(zip(starts, [*starts[1:], height]))

    def spread(self, cotangent, pooled, size):
        """Adjoint of `__call__` by rows: `rows(start, stop, values)`.

        `cotangent` and `pooled` are (N,h,w,C), `values()` is what was pooled
        in these rows. The result is (N,m,q,W,C), m times q rows or, with q =
        1, m windows whose rows are alike. A maximum that is reached several
        times shares its cotangent evenly.
        """
        if self.pool_size == (1, 1):
            return lambda start, stop, values: cotangent[:, start:stop, None]
        if self.average:
            rows, columns = self.pool_size
            cotangent = cotangent / (rows * columns)
            return lambda start, stop, values: self._repeat(
                cotangent, start, stop, size
            )

        def rows(start, stop, values):
            peak = self._repeat(pooled, start, stop, size)
            values = _backend.reshape(values(), _folded(peak))
            # Rounding differs where the same number is computed elsewhere.
            hit = ops.cast(values >= peak * (1.0 - 1e-6), "float32")
            n, _, _, width, channels = ops.shape(hit)
            hits = _backend.reshape(hit, (n, -1, width, channels))
            last = stop is None or stop == size[0]
            begin, end = self._windows(start, stop)
            hits = WindowDownsampling(self.pool_size)(hits, start == 0, last)
            count = hits * math.prod(self.pool_size)
            count = ops.maximum(count, _backend.constant(1.0, count))
            share = cotangent[:, begin : None if last else end] / count
            return hit * self._repeat(share, start, stop, size, begin)

        return rows

    def _windows(self, start, stop):
        """The windows that a block of whole windows covers."""
        factor = self.pool_size[0]
        begin = (start + factor // 2) // factor if start else 0
        end = None if stop is None else (stop + factor // 2) // factor
        return begin, end

    def _repeat(self, x, start, stop, size, begin=None):
        """Rows start..stop of every cell of `x` repeated over its window.

        (N,m,q,W,C) as in `spread`. Pixels that no window covers are zero.
        `begin`: the first window in `x`, if `x` is not the whole map.
        """
        rows, columns = self.pool_size
        if begin is None:
            begin, end = self._windows(start, stop)
            x = x[:, begin : None if end is None else end + 1]
        skip = start + rows // 2 - begin * rows
        length = (size[0] if stop is None else stop) - start
        # One more, where pixels are left that no window covers.
        missing = 1
        if stop is not None:
            needed = -(-(skip + length) // rows)
            x = x[:, :needed]
            missing = needed - x.shape[1]
        x = _backend.pad(x, [(0, 0), (0, missing), (0, 1), (0, 0)])
        n, height, width, channels = ops.shape(x)
        # Columns before rows: the first copy is a small one.
        x = ops.broadcast_to(
            x[:, :, :, None], (n, height, width, columns, channels)
        )
        x = _backend.reshape(x, (n, height, width * columns, channels))
        left = columns // 2
        x = x[:, :, left : left + size[1]]
        return _backend_windows.repeat_rows(x, rows, skip, length)


def _folded(like):
    """Shape (N,m,-1,W,C) for a block whose cotangent is (N,m,q,W,C)."""
    n, windows, _, width, channels = ops.shape(like)
    return n, windows, -1, width, channels


class InterpolationDownsampling:
    """Bilinear (aligned corners) or nearest samples of a map."""

    average = True  # a mean of pixels, not one of them

    def __init__(self, pool_size, nearest=False):
        self.pool_size = pool_size
        self.nearest = nearest

    def output_size(self, size):
        return tuple(
            length if length is None else length // factor
            for length, factor in zip(size, self.pool_size)
        )

    def __call__(self, x):
        for axis, factor in zip((1, 2), self.pool_size):
            x = self._along(x, axis, factor)
        return x

    def one_hot(self, ids, num_classes):
        """Nearest samples of the one-hot map of class ids (N,H,W)."""
        for axis, factor in zip((1, 2), self.pool_size):
            if factor > 1:
                index = self._nearest(ops.shape(ids)[axis], factor)
                ids = ops.take(ids, index, axis=axis)
        return _backend.one_hot(ids, num_classes)

    def _along(self, x, axis, factor):
        if factor == 1:
            return x
        length = ops.shape(x)[axis]
        if self.nearest:
            return ops.take(x, self._nearest(length, factor), axis=axis)
        return bilinear_along(x, axis, length // factor)

    def _nearest(self, length, factor):
        count = length // factor
        return ops.arange(count, dtype="int32") * length // count

    def spread(self, cotangent, pooled, size):
        """Adjoint of the bilinear `__call__` by rows."""
        by_column = self._matrix(size[1], self.pool_size[1])
        by_row = self._matrix(size[0], self.pool_size[0])
        wide = _backend.matmul(by_column, cotangent)

        def rows(start, stop, values):
            n, height, width, channels = ops.shape(wide)
            flat = _backend.reshape(wide, (n, height, width * channels))
            block = _backend.matmul(by_row[start:stop], flat)
            return _backend.reshape(block, (n, -1, 1, width, channels))

        return rows

    def _matrix(self, length, factor):
        """(length, length // factor): weight of each pixel in a sample."""
        if factor == 1:
            return ops.eye(length, dtype="float32")
        low, high, fraction = neighbours(length, length // factor)
        pixel = ops.arange(length, dtype="int32")[:, None]
        return (
            ops.cast(ops.equal(pixel, low), "float32") * (1 - fraction)
            + ops.cast(ops.equal(pixel, high), "float32") * fraction
        )
