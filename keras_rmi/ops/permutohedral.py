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

import itertools
import math

import numpy as np
from keras import ops

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
        self._start = _wrapped([-start - 2**31])
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
        return self._elevate(pairs, lambda x: xp.maximum(x, _GUARD))

    def _elevate(self, pairs, guard):
        """d + 1 coordinates of sum 0, in this order of operations."""
        scaled, times = pairs[-1]
        total, coordinates = scaled, [-times]
        for scaled, times in reversed(pairs[:-1]):
            coordinates.append(total - times)
            total = guard(total + scaled)
        return [total, *reversed(coordinates)]

    def simplex(self, coordinates, xp):
        """Vertices of the simplex of each point, slot m for class m.

        Returns codes (d+1,...), the axes along which vertex m + 1 is the
        neighbour of vertex m (d,...), both int32, and weights (d+1,...).
        """
        inverse = np.float32(1 / self.side)
        cells = [xp.round(x * inverse) for x in coordinates]
        away = [x - self.side * cell for x, cell in zip(coordinates, cells)]
        # The sum is not 0 yet; those that were rounded most give way.
        turn = sum(cells)
        ranks = [turn] * self.side
        for j, k in itertools.combinations(range(self.side), 2):
            behind = cast(away[k] > away[j], "float32")
            ranks[j] = ranks[j] + behind
            ranks[k] = ranks[k] + (1.0 - behind)
        for j, rank in enumerate(ranks):
            shift = cast(rank < 0, "float32")
            shift = shift - cast(rank > self.num_features, "float32")
            ranks[j] = rank + self.side * shift
            cells[j] = cells[j] + shift
        away = [
            (x - self.side * cell) * inverse
            for x, cell in zip(coordinates, cells)
        ]
        ordered, axes = zip(
            *(_of_rank(ranks, away, p, xp) for p in range(self.side))
        )
        last = self.num_features
        weights = [ordered[last] + (1.0 - ordered[0])]
        weights += [ordered[p - 1] - ordered[p] for p in range(last, 0, -1)]
        axes = axes[:0:-1]
        code = self._start[0]
        for cell, stride in zip(cells, self._strides):
            code = code + cast(cell, "int32") * stride
        codes = [code]
        for axis in axes:
            codes.append(codes[-1] - _pick(self._strides, axis, xp))
        return xp.stack(codes), xp.stack(axes), xp.stack(weights)


def _of_rank(ranks, away, p, xp):
    """Distance and axis of the coordinate that has rank p."""
    distance, axis = away[-1], np.int32(len(ranks) - 1)
    for j in range(len(ranks) - 2, -1, -1):
        here = ranks[j] == p
        distance = xp.where(here, away[j], distance)
        axis = xp.where(here, np.int32(j), axis)
    return distance, axis


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
    return x.astype(dtype) if isinstance(x, np.ndarray) else ops.cast(x, dtype)


def _pick(table, index, xp):
    return np.take(table, index) if xp is np else ops.take(table, index)


def _wrapped(numbers):
    """Integers modulo 2^32 as int32."""
    return np.array(numbers, "object").astype("int64").astype("int32")
