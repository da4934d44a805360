"""Region mutual information of label and probability planes, in float32.

A plane is the down-sampled map of one class of one image. With `n` regions of
`d` pixels in a plane, the arrays of every step are

    labels Y, probabilities P          (planes, h, w)
    residual E = Y - t P               (planes, h, w)   t: one number a plane
    coordinates Z = [DCT(P); DCT(E)]   (2d, n)          one plane at a time
    joint matrix J                     (planes, 2d, 2d)
    Cholesky factor L of J             (planes, 2d, 2d)
    value  sum_{i>d} log L_ii / d      (planes,)

where J = Z Z' + a [[I, -t I], [-t I, (1 + t^2) I]] with centred rows of Z.
Both changes of variables have determinant one, so the value is that of the
textbook form 1/(2d) log det(M + a I), M = S_YY - S_YP (S_PP + a I)^-1 S_PY,
but nothing large is ever subtracted from something large: the residual takes
out what P explains of Y, the DCT takes out what neighbours have in common.

The gradient is a product of the same small matrices: with K the last d rows
of L^-1, the cotangent of Z is K'K Z / d. So Z, which is 2d times as large as
the planes, is made again instead of being kept.
"""

import math

from keras import ops

from keras_rmi import _backend
from keras_rmi.ops.regions import decorrelate, decorrelate_transposed


def region_statistics(labels, probabilities, radius, epsilon):
    """Value and what its gradient needs, from planes (planes, h, w).

    Returns `1/(2d) log det(M + epsilon I) - 1/2 ln epsilon`, (planes,), and
    `gradients(of_labels)`, which gives the derivatives with respect to the
    probabilities and, if wanted, the labels.
    """
    dimension = radius[0] * radius[1]
    size = _coordinate_bytes(probabilities, dimension)

    def joint(planes):
        z, t = _coordinates(*planes, radius, epsilon)
        return _backend.matmul(z, ops.swapaxes(z, -1, -2)), t

    scatter, t = _backend.map_planes(joint, (labels, probabilities), size)
    matrix = scatter + epsilon * _prior(t, dimension)
    finite = ops.isfinite(ops.sum(matrix, axis=(-2, -1), keepdims=True))
    # NaN from the network must come out as NaN: a factorisation of NaN
    # raises on some backends.
    factor = ops.cholesky(
        ops.where(finite, matrix, ops.eye(2 * dimension, dtype="float32"))
    )
    diagonal = ops.diagonal(factor, axis1=-2, axis2=-1)[..., dimension:]
    value = ops.mean(ops.log(diagonal), axis=-1) - 0.5 * math.log(epsilon)
    nan = ops.convert_to_tensor(float("nan"), dtype="float32")
    value = ops.where(finite[..., 0, 0], value, nan)

    def gradients(of_labels=False):
        identity = ops.broadcast_to(
            ops.eye(2 * dimension, dtype="float32"), ops.shape(factor)
        )
        whitening = ops.solve_triangular(factor, identity, lower=True)
        whitening = ops.where(finite, whitening[..., dimension:, :], nan)
        metric = (
            _backend.matmul(ops.swapaxes(whitening, -1, -2), whitening)
            / dimension
        )
        to_labels = metric[..., dimension:, :]
        to_probabilities = (
            metric[..., :dimension, :] - t[..., None, None] * to_labels
        )

        def pull_back(planes):
            labels, probabilities, *matrices = planes
            z, _ = _coordinates(labels, probabilities, radius, epsilon)
            grid = ops.shape(probabilities)
            rows, columns = grid[-2] - radius[0] + 1, grid[-1] - radius[1] + 1
            return tuple(
                decorrelate_transposed(
                    ops.reshape(
                        _backend.matmul(matrix, z),
                        (*grid[:-2], dimension, rows, columns),
                    ),
                    radius,
                )
                for matrix in matrices
            )

        matrices = (to_probabilities,) + ((to_labels,) if of_labels else ())
        return _backend.map_planes(
            pull_back, (labels, probabilities, *matrices), size
        )

    return value, gradients


def _coordinates(labels, probabilities, radius, epsilon):
    """Centred Z = [DCT(P); DCT(Y - t P)], (..., 2d, n), and t, (...,)."""
    labels = _centred(labels)
    probabilities = _centred(probabilities)
    # The value does not depend on t: the ridge coefficient only makes the
    # residual small, also for a class that is absent.
    t = ops.sum(labels * probabilities, axis=(-2, -1)) / (
        ops.sum(ops.square(probabilities), axis=(-2, -1)) + epsilon
    )
    residual = labels - t[..., None, None] * probabilities
    pair = ops.stack([probabilities, residual], axis=-3)
    z = decorrelate(pair, radius)  # (..., 2, d, h', w')
    shape = ops.shape(z)
    z = ops.reshape(z, (*shape[:-4], 2 * shape[-3], shape[-2] * shape[-1]))
    return z - ops.mean(z, axis=-1, keepdims=True), t


def _centred(planes):
    return planes - ops.mean(planes, axis=(-2, -1), keepdims=True)


def _prior(t, dimension):
    """[[I, -t I], [-t I, (1 + t^2) I]] for every plane."""
    identity = ops.eye(dimension, dtype="float32")
    t = t[..., None, None]
    upper = ops.concatenate([identity + 0 * t, -t * identity], axis=-1)
    lower = ops.concatenate(
        [-t * identity, (1 + ops.square(t)) * identity], axis=-1
    )
    return ops.concatenate([upper, lower], axis=-2)


def _coordinate_bytes(planes, dimension):
    """Bytes of Z for one plane; 1 where the size is not known."""
    height, width = planes.shape[-2:]
    return 8 * dimension * (height or 1) * (width or 1)
