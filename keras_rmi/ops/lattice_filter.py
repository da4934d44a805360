"""Gaussian filtering on the permutohedral lattice: splat, blur, slice.

Only vertices that surround a point of the image exist; a neighbour that does
not exist counts as 0. All indices are made here, once for an image, and
filtering is linear: sums by index and nothing else.

N images with P pixels each are one list of N P points. Vertices lie in N (d +
1) rows of equal length, class by class, of which only the first are in use.
"""

import numpy as np
from keras import ops

from keras_rmi import _backend_gradients, _backend_sparse
from keras_rmi.ops.permutohedral import NO_VERTEX


class LatticeFilter:
    """Filters maps of C channels on a lattice whose indices are known.

    Args:
        ids: (D,N,P) int32, the vertex of each class, by its place in the row.
        weights: (D,N,P) float32, its barycentric weight.
        neighbours: (D,2,D,N,R) int32, for each axis, and for back and on, the
            neighbour of each vertex by its place in the row of its class, or
            -1 where there is none.
    """

    def __init__(self, ids, weights, neighbours):
        # A number also where torch has a tensor for it, on the way to ONNX.
        side, length = int(neighbours.shape[0]), neighbours.shape[-1]
        count = ops.shape(ids)[1]
        image = ops.arange(count, dtype="int32")[:, None] * length
        rows = count * length
        self._alpha = 1.0 / (1.0 + 2.0 ** (1 - side))
        self._interpolation = _backend_sparse.Interpolation(
            ops.reshape(ids + image, (side, -1)),
            ops.reshape(weights, (side, -1)),
            rows,
        )
        # Where neighbours back and on are found: classes m - 1 and m + 1.
        classes = np.arange(side)
        classes = np.stack([(classes - 1) % side, (classes + 1) % side])
        classes = ops.convert_to_tensor(classes[:, :, None, None], "int32")
        start = classes * rows + image
        # One more vertex, of value 0, is the neighbour that does not exist.
        # Not padded: what TensorFlow vectorises would get zeros.
        none = ops.zeros_like(neighbours[..., :1]) + side * rows
        neighbours = ops.where(neighbours < 0, none, neighbours + start)
        self._neighbours = ops.concatenate(
            [
                ops.reshape(neighbours, (side, 2, -1)),
                ops.reshape(none, (side, 2, -1))[..., :1],
            ],
            axis=-1,
        )
        self._last_axis = side - 1

    def __call__(self, x):
        """The filtered x, (N*P,C)."""
        arrays = self._interpolation.arrays, self._neighbours
        return _backend_gradients.linear(
            self._filter, self._transpose, x, arrays
        )

    def _transpose(self, x, arrays):
        return self._filter(x, arrays, transpose=True)

    def _filter(self, x, arrays, transpose=False):
        """Along one axis after the other; backwards in the transpose."""
        interpolation, neighbours = arrays

        def blur(axis, values):
            if transpose:
                axis = self._last_axis - axis
            back, on = (
                _backend_sparse.take(values, neighbours[axis][way])
                for way in (0, 1)
            )
            return values + 0.5 * (back + on)

        values = self._interpolation.splat(x, interpolation)
        values = ops.pad(values, ((0, 1), (0, 0)))
        values = _backend_sparse.repeat(self._last_axis + 1, blur, values)
        return self._alpha * self._interpolation.slice(values, interpolation)


def host_lattice(embedding, codes, weights):
    """Indices of points that are known, (D,1,P), as NumPy arrays.

    Returns the arguments of `LatticeFilter`.
    """
    vertices = [np.unique(row) for row in codes]
    length = max(map(len, vertices))
    ids = [
        np.searchsorted(*pair)
        for pair in zip(vertices, codes[:, : weights.shape[1]])
    ]
    neighbours = np.full(
        (embedding.side, 2, embedding.side, 1, length), -1, "int32"
    )
    steps = np.stack([embedding.steps_back, embedding.steps_on], axis=1)
    for axis, way, m in np.ndindex(steps.shape):
        there = vertices[(m + (1 if way else -1)) % embedding.side]
        wanted = vertices[m] + steps[axis, way, m]
        found = np.searchsorted(there, wanted)
        known = there[np.minimum(found, len(there) - 1)] == wanted
        neighbours[axis, way, m, 0, : len(wanted)] = np.where(known, found, -1)
    return np.stack(ids)[:, None].astype("int32"), weights[:, None], neighbours


class VertexIndex:
    """Indices of points that depend on the image, made in the graph.

    Args:
        codes: (D,N,P') int32 from `Embedding.simplex`, with P' - P codes of
            points that are not pixels at the end.
        axes: (D-1,N,P) int32, likewise.
        weights: (D,N,P) float32, likewise.
    """

    def __init__(self, embedding, codes, axes, weights):
        self._embedding = embedding
        self._axes, self._weights = axes, weights
        self._num_points = codes.shape[-1]
        self._first_codes = codes[0][:, : weights.shape[-1]]
        self._ordered = ops.sort(
            ops.reshape(codes, (-1, self._num_points)), axis=-1
        )
        new = self._ordered[:, 1:] != self._ordered[:, :-1]
        numbers = ops.cumsum(ops.cast(new, "int32"), axis=-1)
        self._numbers = ops.pad(numbers, ((0, 0), (1, 0)))
        # Vertices of each class and image.
        self.counts = self._numbers[:, -1] + 1

    def filter(self, capacity):
        """The filter, with rows of that length."""
        side = self._embedding.side
        vertices = self._vertices(capacity)
        by_class = ops.reshape(vertices, (side, -1, capacity))
        on = self._neighbours(by_class, self._embedding.steps_on, 1)
        back = self._neighbours(by_class, self._embedding.steps_back, -1)
        ids = [_backend_sparse.first_not_less(by_class[0], self._first_codes)]
        # The vertex of the next class is a neighbour of the one before.
        count = ops.shape(by_class)[1]
        image = ops.arange(count, dtype="int32")[:, None]
        for m in range(side - 1):
            table = ops.reshape(on[:, m], (-1,))
            row = self._axes[m] * count + image
            ids.append(_backend_sparse.take(table, row * capacity + ids[-1]))
        neighbours = ops.stack([back, on], axis=1)
        return LatticeFilter(ops.stack(ids), self._weights, neighbours)

    def _vertices(self, capacity):
        """Distinct codes in ascending order, (D*N,R)."""
        rank = ops.arange(capacity, dtype="int32")[None]
        rows = ops.shape(self._ordered)[0]
        rank = ops.broadcast_to(rank, (rows, capacity))
        place = _backend_sparse.first_not_less(self._numbers, rank)
        place = ops.minimum(place, self._num_points - 1)
        row = ops.arange(rows, dtype="int32")[:, None]
        codes = _backend_sparse.take(
            ops.reshape(self._ordered, (-1,)), row * self._num_points + place
        )
        return ops.where(rank < self.counts[:, None], codes, NO_VERTEX)

    def _neighbours(self, vertices, steps, way):
        """Places of the neighbours along all axes, or -1, (D,D,N,R)."""
        side, capacity = self._embedding.side, vertices.shape[-1]
        known = ops.reshape(ops.roll(vertices, -way, axis=0), (-1, capacity))
        rows = ops.shape(known)[0]
        row = ops.arange(rows, dtype="int32")[:, None] * capacity
        used = ops.reshape(vertices != NO_VERTEX, (-1, capacity))

        def along(step):
            wanted = ops.reshape(vertices + step[:, None, None], (-1, capacity))
            place = _backend_sparse.first_not_less(known, wanted)
            at = place - ops.cast(place == capacity, "int32")
            code = _backend_sparse.take(ops.reshape(known, (-1,)), row + at)
            hit = ops.logical_and(code == wanted, code != NO_VERTEX)
            return ops.where(ops.logical_and(hit, used), at, -1)

        places = ops.map(along, ops.convert_to_tensor(steps))
        return ops.reshape(places, (side, side, -1, capacity))
