"""From the joint matrix of `statistics` to the inverse of its factor."""

import math

import numpy as np
from keras import ops

from keras_rmi import _backend, _backend_blocks, _backend_regions
from keras_rmi.ops.bands import Bands
from keras_rmi.ops.regions import binomial_matrix, member_matrices

# Added to the diagonal, relative to it: more than the error of the products.
_SHIFT = 3e-5
# How much the error of J may grow before its products are made again.
_SPREAD = 10.0


def whitening_matrix(matrix, finite, mean, pair, t, radius, epsilon):
    """[L^-1, -L^-1 mean], (planes, 2d, 2d + 1), also where J is near singular.

    Where few patterns fill a plane, as along a straight edge, float32
    cannot hold the small eigenvalues of products, but it can hold Z. So the
    factor S of J with a larger diagonal takes Z to S^-1 Z, whose products
    are near the identity, and the inverse of their factor times S^-1 is that
    of L: Cholesky QR with a shift (Fukaya et al. 2020, arXiv:1809.11085).
    What is left of the mean is more exact there, too.
    """
    identity = _backend.constant(np.eye(matrix.shape[-1]), matrix)
    # NaN from the network must come out as NaN: a factorisation of NaN
    # raises on some backends.
    matrix = ops.where(finite, matrix, identity)
    first = _inverse_factor(matrix * (1.0 + _SHIFT * identity))
    # The trace of the inverse of J, with ones on its diagonal: the error of
    # log det J in units of that of J.
    scale = ops.diagonal(matrix, axis1=-2, axis2=-1)[:, None, :]
    spread = ops.sum(ops.square(first) * scale, axis=(-2, -1))
    small = spread > _SPREAD * matrix.shape[-1]
    found = _inverse_factor(ops.where(small[:, None, None], identity, matrix))
    bands = Bands(pair, radius, 1)
    first = _centring(first, mean)
    # Not where planes may be none: tf.vectorized_map gives such a product with
    # a matrix that all planes share the wrong shape.
    (member,) = member_matrices(radius, 1)
    of_samples = _backend.matmul(first, _backend.constant(member, first))
    return _backend_blocks.map_where(
        lambda arrays: (_refined(*arrays, bands, radius, epsilon),),
        small,
        (first, of_samples, pair, t),
        _centring(found, mean),
        bands.plane_bytes,
    )


def _refined(first, of_samples, pair, t, bands, radius, epsilon):
    """The whitening from that of about J, also in the order of Z, and Z."""

    def of_band(band):
        z = _backend_regions.samples(band, radius, 1, {})
        return _backend_regions.second_moments_of(of_samples, z)

    moments = _backend_blocks.sum_bands(of_band, pair, *bands.layout)
    rest = bands.rest(pair)
    if rest is not None:
        moments = moments + of_band(rest)
    scatter, mean = centred_moments(moments)
    linear, offset = first[..., :-1], first[..., -1:]
    root = _backend.matmul(linear, _prior_root(t, radius, epsilon))
    prior = _backend.matmul(root, ops.swapaxes(root, -1, -2))
    first = ops.concatenate([linear, offset - mean], axis=-1)
    return _backend.matmul(_inverse_factor(scatter + prior), first)


def _inverse_factor(matrix):
    """Of the Cholesky factor."""
    return _backend_regions.inverse_lower(ops.cholesky(matrix))


def centred_moments(moments):
    """Centred products, and the mean, of samples with a last row of ones."""
    sums, count = moments[..., :-1, -1:], moments[..., -1:, -1:]
    # The planes are centred, so the sums are small: nothing cancels.
    centre = sums * ops.swapaxes(sums, -1, -2) / count
    return moments[..., :-1, :-1] - centre, sums / count


def _centring(matrix, mean):
    """`matrix` for samples, less their mean, with a row of ones."""
    # A product: for tf.vectorized_map a concatenation, whose parts a loop
    # takes one by one, has no gradient, and it asks for one.
    identity = _backend.constant(np.eye(matrix.shape[-1]), matrix)
    identity = ops.broadcast_to(identity, ops.shape(matrix))
    centring = ops.concatenate([identity, -mean], axis=-1)
    return _backend.matmul(matrix, centring)


def _prior_root(t, radius, epsilon):
    """A matrix whose product with its transpose is `joint_prior`."""
    t = t[..., None, None]
    basis = _backend.constant(math.sqrt(epsilon) * binomial_matrix(radius), t)
    basis = basis + 0.0 * t
    upper = ops.concatenate([basis, 0.0 * basis], axis=-1)
    lower = ops.concatenate([-t * basis, basis], axis=-1)
    return ops.concatenate([upper, lower], axis=-2)


def joint_prior(t, metric):
    """[[G, -t G], [-t G, (1 + t^2) G]] for every plane; `metric` is G."""
    t = t[..., None, None]
    upper = ops.concatenate([metric + 0.0 * t, -t * metric], axis=-1)
    lower = ops.concatenate(
        [-t * metric, (1.0 + ops.square(t)) * metric], axis=-1
    )
    return ops.concatenate([upper, lower], axis=-2)
