"""Kernels of the fully connected CRF: what is filtered, how it is scaled."""

import math

import numpy as np
from keras import ops

from keras_rmi import _backend_sparse
from keras_rmi.ops.lattice_filter import (
    LatticeFilter,
    VertexIndex,
    host_lattice,
)
from keras_rmi.ops.permutohedral import Embedding, host_repeat

_LEVELS = 256
# pydensecrf works on four points at once, and zeros fill up the last four.
_GROUP = 4
_TINY = 1e-20
# Vertices of a class for which compiled programs have room, as a share of the
# pixels: photographs have 0.01 to 0.04 where colours deviate by 13 levels, up
# to 0.18 where by 3, and there cannot be more than 1. For few pixels room is
# cheaper than another branch to compile.
_SHARES = (0.05, 0.2, 1.0)
_FEW_PIXELS = 2**14


class GaussianKernel:
    """The kernel of positions; its lattice is made once, on the host."""

    def __init__(self, size, sxy):
        embedding = Embedding(_positions(size, sxy))
        coordinates = embedding.look_up(_pixels(size), np)
        codes, _, weights = embedding.simplex(coordinates, np, host_repeat)
        codes = codes.reshape(embedding.side, -1)
        padding = _padding(embedding, math.prod(size))
        self._lattice = host_lattice(
            embedding,
            np.concatenate([codes, padding], axis=-1),
            weights.reshape(embedding.side, -1),
        )

    def filter(self, num_images):
        """The filter for a number of images, all alike."""
        ids, weights, neighbours = self._lattice
        side, _, num_points = ids.shape
        points = (side, num_images, num_points)
        vertices = (side, 2, side, num_images, neighbours.shape[-1])
        return LatticeFilter(
            ops.broadcast_to(ids, points),
            ops.broadcast_to(weights, points),
            ops.broadcast_to(neighbours, vertices),
        )


class BilateralKernel:
    """The kernel of positions and colours; its lattice is in the graph."""

    def __init__(self, size, sxy, srgb):
        levels = np.arange(_LEVELS, dtype="float32")
        colors = [levels / np.float32(deviation) for deviation in srgb]
        self._embedding = Embedding([*_positions(size, sxy), *colors])
        self._size = size
        self._num_points = math.prod(size)
        self._padding = _padding(self._embedding, self._num_points)
        few = self._num_points <= _FEW_PIXELS
        # One vertex may come from the padding.
        self.capacities = tuple(
            math.ceil(share * self._num_points) + 1
            for share in (_SHARES[-1:] if few else _SHARES)
        )

    def index(self, image):
        """The vertices round the pixels of images (N,H,W,3), int32."""
        side = self._embedding.side
        colors = [image[..., channel] for channel in range(3)]
        coordinates = self._embedding.look_up(
            [*_pixels(self._size), *colors], ops
        )
        codes, axes, weights = (
            ops.reshape(x, (x.shape[0], -1, self._num_points))
            for x in self._embedding.simplex(
                coordinates, ops, _backend_sparse.repeat
            )
        )
        if self._padding.size:
            shape = (side, ops.shape(codes)[1], 1)
            padding = ops.broadcast_to(self._padding[:, None], shape)
            codes = ops.concatenate([codes, padding], axis=-1)
        return VertexIndex(self._embedding, codes, axes, weights)


def _positions(size, sxy):
    """All values of x and y, the column first, over their deviations."""
    return [
        np.arange(length, dtype="float32") / np.float32(deviation)
        for length, deviation in zip(reversed(size), sxy)
    ]


def _pixels(size):
    """Columns and rows, to look up."""
    rows, columns = (np.arange(length, dtype="int32") for length in size)
    return columns[None, :], rows[:, None]


def _padding(embedding, count):
    """Codes of a point of zeros if points are missing, (D,1) or (D,0)."""
    shape = embedding.side, 1 if count % _GROUP else 0
    zeros = np.zeros(shape, "float32")
    return embedding.simplex(zeros, np, host_repeat)[0]


class NormalizedFilter:
    """A filter whose weights are scaled by their sums over all points.

    `ones` (P,1) are made from the image: XLA takes seconds to compute what
    depends on nothing.
    """

    def __init__(self, lattice_filter, normalization, ones):
        self._filter = lattice_filter
        self._before = self._after = None
        if normalization is None:
            return
        norm = lattice_filter(ones) + _TINY
        if normalization == "symmetric":
            self._before = self._after = 1.0 / ops.sqrt(norm)
        elif normalization == "before":
            self._before = 1.0 / norm
        else:
            self._after = 1.0 / norm

    def __call__(self, x):
        if self._before is not None:
            x = x * self._before
        x = self._filter(x)
        return x if self._after is None else x * self._after
