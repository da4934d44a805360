"""Region mutual information of label and probability planes, in float32.

A plane is the down-sampled map of one class of one image. With `n` regions of
`d` pixels in a plane, the arrays of every step are

    labels Y, probabilities P          (planes, h, w)
    residual E = Y - t P               (planes, h, w)   t: one number a plane
    coordinates Z = [T P; T E]         (2d, n)          one plane at a time
    joint matrix J                     (planes, 2d, 2d)
    Cholesky factor L of J             (planes, 2d, 2d)
    value  sum_{i>d} log L_ii / d      (planes,)

where J = Z Z' + a [[G, -t G], [-t G, (1 + t^2) G]] with centred rows of Z,
G = T T', and T the binomial filters of `regions`. Both changes of variables
have a determinant that is known, so the value is that of the textbook form
1/(2d) log det(M + a I), M = S_YY - S_YP (S_PP + a I)^-1 S_PY, but nothing
large is subtracted from something large: the residual takes out what P
explains of Y, the filters what neighbouring pixels have in common.

The gradient is a product of the same small matrices: with K the last d rows
of L^-1, the cotangent of Z is K'K Z / d. So Z, which is 2d times as large as
the planes, is made again instead of being kept, and T' is applied to K'K, so
that one product gives the cotangents of the region vectors themselves.
"""

import math

from keras import ops

from keras_rmi import _backend
from keras_rmi.ops.linalg import inverse_lower
from keras_rmi.ops.regions import (
    binomial_coefficients,
    binomial_matrix,
    overlap_add,
    shift,
)


def region_statistics(labels, probabilities, radius, epsilon):
    """Value and what its gradient needs, from planes (planes, h, w).

    Returns `1/(2d) log det(M + epsilon I) - 1/2 ln epsilon`, (planes,), and
    `gradients(of_labels)`, which gives the derivatives with respect to the
    probabilities and, if wanted, the labels.
    """
    dimension = radius[0] * radius[1]
    basis = ops.convert_to_tensor(binomial_matrix(radius))
    metric = epsilon * _backend.matmul(basis, ops.swapaxes(basis, 0, 1))
    size = _coordinate_bytes(probabilities, dimension)

    def joint(planes):
        maps, t = _coordinates(*planes, radius, epsilon)
        sums, products, count = _backend.moments(maps, dimension)
        # The planes are centred, so the sums are small: nothing cancels.
        outer = sums[..., :, None] * sums[..., None, :]
        return products - outer / count, t

    scatter, t = _backend.map_planes(joint, (labels, probabilities), size)
    matrix = scatter + _prior(t, metric)
    finite = ops.isfinite(ops.sum(matrix, axis=(-2, -1), keepdims=True))
    # NaN from the network must come out as NaN: a factorisation of NaN
    # raises on some backends.
    factor = ops.cholesky(
        ops.where(finite, matrix, ops.eye(2 * dimension, dtype="float32"))
    )
    diagonal = ops.diagonal(factor, axis1=-2, axis2=-1)[..., dimension:]
    offset = 0.5 * (math.log(2.0) * (sum(radius) - 2) + math.log(epsilon))
    value = ops.mean(ops.log(diagonal), axis=-1) - offset
    nan = ops.convert_to_tensor(float("nan"), dtype="float32")
    value = ops.where(finite[..., 0, 0], value, nan)

    def gradients(of_labels=False):
        whitening = inverse_lower(factor)[..., dimension:, :]
        whitening = ops.where(finite, whitening, nan)
        # Cotangents of the vectors of P and E: (planes, d, 2d) each.
        to_probabilities, to_residual = (
            _backend.matmul(
                ops.swapaxes(_backend.matmul(block, basis), -1, -2), whitening
            )
            / dimension
            for block in (
                whitening[..., :dimension],
                whitening[..., dimension:],
            )
        )
        matrices = [to_probabilities - t[..., None, None] * to_residual]
        if of_labels:
            matrices.append(to_residual)

        def pull_back(arrays):
            labels, probabilities, *matrices = arrays
            maps, _ = _coordinates(labels, probabilities, radius, epsilon)
            z = _backend.stack(maps, dimension, axis=-3)
            *leading, _, _, height, width = ops.shape(z)  # (..., 2, d, h', w')
            shape = (*leading, 2 * dimension, height * width)
            # By rows first: XLA adds one after the other.
            mean = ops.mean(ops.mean(z, axis=-1), axis=-1)
            mean = ops.reshape(mean, (*shape[:-1], 1))
            z = ops.reshape(z, shape)
            shape = (*leading, dimension, height, width)

            def pull_back_by(matrix):
                y = _backend.matmul(matrix, z) - _backend.matmul(matrix, mean)
                return overlap_add(ops.reshape(y, shape), radius)

            return tuple(pull_back_by(matrix) for matrix in matrices)

        return _backend.map_planes(
            pull_back, (labels, probabilities, *matrices), size
        )

    return value, gradients


def _coordinates(labels, probabilities, radius, epsilon):
    """Rows of Z = [T P; T (Y - t P)], d maps (..., 2, h', w'), and t."""
    labels = _centred(labels, radius)
    probabilities = _centred(probabilities, radius)
    # The value does not depend on t: the ridge coefficient only makes the
    # residual small, also for a class that is absent.
    t = ops.sum(labels * probabilities, axis=(-2, -1)) / (
        ops.sum(ops.square(probabilities), axis=(-2, -1)) + epsilon
    )
    residual = labels - t[..., None, None] * probabilities
    pair = ops.stack([probabilities, residual], axis=-3)
    return binomial_coefficients(pair, radius), t


def _centred(planes, radius):
    """Planes without the mean of the pixels in the centre of a region.

    A plane that is constant but for a padded border comes out as zeros there;
    the second pass removes the rounding of the first. Rows are summed first:
    XLA adds one after the other, and the rounding of n equal terms in a row
    exceeds epsilon where a map is constant.
    """
    for _ in range(2):
        centres = planes
        for axis, size in enumerate(radius, start=len(planes.shape) - 2):
            centres = shift(centres, size // 2, size, axis)
        mean = ops.mean(ops.mean(centres, axis=-1), axis=-1)
        planes = planes - mean[..., None, None]
    return planes


def _prior(t, metric):
    """[[G, -t G], [-t G, (1 + t^2) G]] for every plane; `metric` is G."""
    t = t[..., None, None]
    upper = ops.concatenate([metric + 0.0 * t, -t * metric], axis=-1)
    lower = ops.concatenate(
        [-t * metric, (1.0 + ops.square(t)) * metric], axis=-1
    )
    return ops.concatenate([upper, lower], axis=-2)


def _coordinate_bytes(planes, dimension):
    """Bytes of Z for one plane; 1 where the size is not known."""
    height, width = planes.shape[-2:]
    return 8 * dimension * (height or 1) * (width or 1)
