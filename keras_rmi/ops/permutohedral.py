"""The permutohedral lattice: which vertices surround a point, and how near.

Points have d features; the lattice lies in d + 1 coordinates whose sum is 0.
A vertex of class m, 0 to d, has coordinates that are all m modulo d + 1, and
each point lies in a simplex with one vertex of each class. A vertex is known
by u_j = floor(coordinate j / (d + 1)), all but one of them, packed into an
int32.

Which vertices surround a point on the border of simplices is decided by the
rounding of its coordinates, and the result of the filter depends on it. So
coordinates are the same to the last bit everywhere: products come from tables
that are made on the host, and are only added here. Then no compiler can fuse
or reorder anything, but for sums of constants, which `_GUARD` keeps apart.

Adams, Baek, Davis 2010, "Fast High-Dimensional Filtering Using the
Permutohedral Lattice".
"""

import math

import numpy as np
from keras import ops

from keras_rmi import _backend_sparse

_GUARD = np.float32(-3e38)
# Codes are -2^31 to 2^31 - 2; what is left stands for "no vertex".
NO_VERTEX = 2**31 - 1
_NUM_CODES = 2**32 - 1


class Embedding:
    """Places points on the lattice.

    `features` are d arrays of all values that each of them can have, in units
    of its standard deviation. Raises `OverflowError` where the vertices of
    all possible points have more codes than an int32 holds.
    """

    def __init__(self, features):
        self.num_features = len(features)
        self.side = self.num_features + 1
        spread = np.float32(math.sqrt(2 / 3) * self.side)
        self._tables = []
        for j, values in enumerate(features, start=1):
            scale = np.float32(1 / math.sqrt(j * (j + 1)) * float(spread))
            scaled = np.asarray(values, "float32") * scale
            self._tables.append((scaled, np.float32(j) * scaled))
        self._number_vertices()

    def _number_vertices(self):
        """Strides of the codes, and the lowest u of each coordinate."""
        bounds = self._elevate(
            [
                tuple(Interval(table.min(), table.max()) for table in pair)
                for pair in self._tables
            ],
            guard=lambda x: x,
        )
        # Vertices are nearer than a side, and so are their neighbours to
        # them; the rest is for the rounding.
        low = [math.floor(b.low / self.side - 0.01) - 2 for b in bounds]
        high = [math.floor(b.high / self.side + 0.01) + 2 for b in bounds]
        extent = [h - lo + 1 for lo, h in zip(low, high)]
        # The others and the class determine the one that takes most room.
        implied = extent.index(max(extent))
        extent[implied] = 1
        self.num_codes = math.prod(extent)
        if self.num_codes > _NUM_CODES:
            raise OverflowError(self.num_codes)
        strides = [math.prod(extent[:j]) for j in range(self.side)]
        strides[implied] = 0
        self._strides = _wrapped(strides)
        start = sum(lo * stride for lo, stride in zip(low, strides))
        self._start = int(_wrapped([-start - 2**31])[0])
        whole = sum(strides)
        # Along axis j vertices of class m have neighbours of class m - 1 and
        # m + 1 (modulo the side): 1 less or more in every other coordinate.
        self.steps_back = _wrapped(
            [
                [stride - (whole if m == 0 else 0) for m in range(self.side)]
                for stride in strides
            ]
        )
        self.steps_on = _wrapped(
            [
                [
                    (whole if m == self.side - 1 else 0) - stride
                    for m in range(self.side)
                ]
                for stride in strides
            ]
        )

    def look_up(self, indices, xp):
        """Coordinates of points, whose features are entries of the tables.

        `indices` broadcast to the shape of the points. `xp` is `keras.ops`,
        or NumPy for what is known beforehand, here and below.
        """
        pairs = [
            tuple(_pick(table, index, xp) for table in pair)
            for pair, index in zip(self._tables, indices)
        ]
        coordinates = self._elevate(pairs, lambda x: xp.maximum(x, _GUARD))
        # The last is that of one feature alone.
        coordinates[-1] = coordinates[-1] + xp.zeros_like(coordinates[0])
        return xp.stack(coordinates)

    def _elevate(self, pairs, guard):
        """Coordinates of sum 0, d + 1 of them, in this order of operations."""
        scaled, times = pairs[-1]
        total, coordinates = scaled, [-times]
        for scaled, times in reversed(pairs[:-1]):
            coordinates.append(total - times)
            total = guard(total + scaled)
        return [total, *reversed(coordinates)]

    def simplex(self, coordinates, xp, repeat):
        """Vertices of the simplex of each point, slot m for class m.

        Returns codes (d+1,...), the axes along which vertex m + 1 is the
        neighbour of vertex m (d,...), both int32, and weights (d+1,...).
        `repeat` is `_backend_sparse.repeat`, or `host_repeat`: a loop, not
        to save operations, but because XLA fuses all of this into each of
        its many results otherwise, and takes ten times as long.
        """
        side, inverse = self.side, np.float32(1 / self.side)
        along = (side, *[1] * (len(coordinates.shape) - 1))
        places, strides = (
            x.reshape(along) if xp is np else ops.reshape(x, along)
            for x in (np.arange(side, dtype="int32"), self._strides)
        )
        cells = xp.round(coordinates * inverse)
        away = coordinates - side * cells

        def compare(k, ranks):
            tie = xp.logical_and(away[k] == away, k < places)
            ahead = xp.logical_or(away[k] > away, tie)
            return ranks + cast(ahead, "float32")

        # The sum is not 0 yet; those that were rounded most give way.
        turn = xp.sum(cells, axis=0, keepdims=True)
        ranks = repeat(side, compare, turn + xp.zeros_like(cells))
        shift = cast(ranks < 0, "float32")
        shift = shift - cast(ranks > self.num_features, "float32")
        ranks = cast(ranks + side * shift, "int32")
        cells = cells + shift
        away = (coordinates - side * cells) * inverse

        def put(j, found):
            distances, axes = found
            here = ranks[j] == places
            return (
                xp.where(here, away[j], distances),
                xp.where(here, cast(j, "int32"), axes),
            )

        start = xp.zeros_like(away), xp.zeros_like(ranks)
        distances, axes = repeat(side, put, start)
        axes = xp.flip(axes[1:], axis=0)
        first = distances[-1:] + (1.0 - distances[:1])
        others = distances[:-1] - distances[1:]
        weights = xp.concatenate([first, xp.flip(others, axis=0)], axis=0)
        code = xp.sum(cast(cells, "int32") * strides, axis=0)
        codes = [cast(code, "int32") + self._start]
        steps = _pick(self._strides, axes, xp)
        for m in range(self.num_features):
            codes.append(codes[-1] - steps[m])
        return xp.stack(codes), axes, weights


def host_repeat(count, function, x):
    """Like `_backend_sparse.repeat`, for NumPy arrays."""
    for i in range(count):
        x = function(i, x)
    return x


class Interval:
    """The numbers from `low` to `high`, with sums as for numbers."""

    def __init__(self, low, high):
        self.low, self.high = float(low), float(high)

    def __add__(self, other):
        return Interval(self.low + other.low, self.high + other.high)

    def __neg__(self):
        return Interval(-self.high, -self.low)

    def __sub__(self, other):
        return self + -other


def cast(x, dtype):
    """Of a tensor, or of an array on the host."""
    return (
        np.asarray(x, dtype)
        if isinstance(x, (int, np.ndarray))
        else ops.cast(x, dtype)
    )


def _pick(table, index, xp):
    if xp is np:
        return np.take(table, index)
    index = ops.convert_to_tensor(index)
    return _backend_sparse.take(ops.convert_to_tensor(table), index)


def _wrapped(numbers):
    """Integers modulo 2^32 as int32."""
    return np.array(numbers, "object").astype("int64").astype("int32")
