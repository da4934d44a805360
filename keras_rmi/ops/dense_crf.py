"""The fully connected CRF: kernels of an image and mean-field iterations."""

import math

import numpy as np
from keras import ops

from keras_rmi import _backend, _backend_sparse
from keras_rmi.ops import lattice_filter
from keras_rmi.ops.permutohedral import Embedding

LEVELS = 256
# pydensecrf works on four points at once.
_GROUP = 4
_TINY = 1e-20
# Vertices of a class per pixel for which memory is set aside at first:
# photographs have 0.01 to 0.05 with the usual parameters.
_SHARES = (0.05, 1.0)


def position_tables(size, sxy):
    """All values of x and y over their standard deviations."""
    return [
        np.arange(length, dtype="float32") / np.float32(deviation)
        for length, deviation in zip(reversed(size), sxy)
    ]


def color_tables(srgb):
    return [
        np.arange(LEVELS, dtype="float32") / np.float32(deviation)
        for deviation in srgb
    ]


def position_indices(size):
    height, width = size
    return [
        np.arange(width, dtype="int32")[None, :],
        np.arange(height, dtype="int32")[:, None],
    ]


class GaussianKernel:
    """The kernel of positions alone; its lattice is made once, on the host."""

    def __init__(self, size, sxy):
        embedding = Embedding(position_tables(size, sxy))
        coordinates = embedding.look_up(position_indices(size), np)
        codes, _, weights = embedding.simplex(coordinates, np)
        count = math.prod(size)
        codes = codes.reshape(embedding.side, -1)
        codes = np.concatenate([codes, _padding(embedding, count)], axis=-1)
        self._lattice = lattice_filter.host_lattice(
            embedding, codes, weights.reshape(embedding.side, -1)
        )

    def filter(self, num_images):
        """For a number of images, all alike."""
        ids, weights, neighbours = map(
            ops.convert_to_tensor, self._lattice
        )
        side, _, num_points = ids.shape
        length = neighbours.shape[-1]
        return lattice_filter.LatticeFilter(
            ops.broadcast_to(ids, (side, num_images, num_points)),
            ops.broadcast_to(weights, (side, num_images, num_points)),
            ops.broadcast_to(
                neighbours, (side, 2, side, num_images, length)
            ),
        )


class BilateralKernel:
    """The kernel of positions and colours."""

    def __init__(self, size, sxy, srgb):
        self._size = size
        self._embedding = Embedding(
            [*position_tables(size, sxy), *color_tables(srgb)]
        )
        count = math.prod(size)
        self._padding = _padding(self._embedding, count)
        self.capacities = sorted(
            {
                min(max(64, math.ceil(share * count)), count) + 1
                for share in _SHARES
            }
        )

    def index(self, image):
        """What is known of the lattice of images (N,H,W,3), int32."""
        side, count = self._embedding.side, math.prod(self._size)
        colors = [image[..., channel] for channel in range(3)]
        coordinates = self._embedding.look_up(
            [*position_indices(self._size), *colors], ops
        )
        codes, axes, weights = self._embedding.simplex(coordinates, ops)
        codes = ops.reshape(codes, (side, -1, count))
        padding = ops.convert_to_tensor(self._padding)[:, None]
        padding = ops.broadcast_to(
            padding, (side, ops.shape(codes)[1], padding.shape[-1])
        )
        return lattice_filter.VertexIndex(
            self._embedding,
            ops.concatenate([codes, padding], axis=-1),
            ops.reshape(axes, (side - 1, -1, count)),
            ops.reshape(weights, (side, -1, count)),
        )


def _padding(embedding, count):
    """Codes of a point of zeros if points are missing, (D,1) or (D,0)."""
    zeros = [np.zeros(1 if count % _GROUP else 0, "float32")] * embedding.side
    return embedding.simplex(zeros, np)[0]


class Message:
    """What one kernel adds to the energy, (N*P,C)."""

    def __init__(self, kernel, normalization, ones, compat):
        self._kernel, self._compat = kernel, compat
        self._before = self._after = None
        if normalization is None:
            return
        norm = kernel(ones) + _TINY
        if normalization == "symmetric":
            self._before = self._after = 1.0 / ops.sqrt(norm)
        elif normalization == "before":
            self._before = 1.0 / norm
        else:
            self._after = 1.0 / norm

    def __call__(self, q):
        if self._before is not None:
            q = q * self._before
        message = self._kernel(q)
        if self._after is not None:
            message = message * self._after
        rank = len(self._compat.shape)
        if rank == 0:
            return -self._compat * message
        if rank == 1:
            return self._compat * message
        symmetric = 0.5 * (self._compat + ops.transpose(self._compat))
        return _backend.matmul(message, symmetric)


def mean_field(energy, messages, iterations):
    """Probabilities (P,C) from the unary energy."""

    def update(_, q):
        total = -energy
        for message in messages:
            total = total - message(q)
        return ops.softmax(total, axis=-1)

    return _backend_sparse.repeat(
        iterations, update, ops.softmax(-energy, axis=-1)
    )
