"""Region vectors and the log-determinant of the posterior covariance.

Y are the labels and P the probabilities of one class of one image, each as
d x n centred region vectors; a is the regulariser. The quantity is

    value = 1/(2d) log det(M + a I),
    M = S_YY - S_YP (S_PP + a I)^-1 S_PY.
"""

import numpy as np

from reference.downsampling import as_pair


def region_vectors(maps, radius):
    """(N, H, W, C) -> (N, h, w, C, d), rows of a region first."""
    windows = np.lib.stride_tricks.sliding_window_view(
        maps, as_pair(radius), axis=(1, 2)
    )
    return windows.reshape(*windows.shape[:4], -1)


def scatter_regions(gradient, radius, shape):
    """Adjoint of the region vectors of one map: (d, n) -> `shape`."""
    (rows, columns) = as_pair(radius)
    (height, width) = (shape[0] - rows + 1, shape[1] - columns + 1)
    pieces = gradient.reshape(rows, columns, height, width)
    total = np.zeros(shape)
    for row in range(rows):
        for column in range(columns):
            total[row : row + height, column : column + width] += pieces[
                row, column
            ]
    return total


def centred_vectors(single_map, radius):
    """(H, W) -> (d, n), each row with mean zero."""
    vectors = region_vectors(single_map[None, :, :, None], radius)
    vectors = vectors.reshape(-1, vectors.shape[-1]).T
    return vectors - vectors.mean(axis=1, keepdims=True)


def schur_oracle(labels, probabilities, epsilon):
    """The textbook form; gradients from the inverse of the joint matrix.

    With Z = [P; Y] and J = Z Z^T + a I the value is
    1/(2d) (log det J - log det J_PP), hence
    d value / dZ = 1/d (J^-1 - (J_PP^-1 (+) 0)) Z.
    """
    size = len(labels)
    ridge = epsilon * np.eye(size)
    inverse = np.linalg.inv(probabilities @ probabilities.T + ridge)
    cross = labels @ probabilities.T
    posterior = labels @ labels.T - cross @ inverse @ cross.T
    value = np.linalg.slogdet(posterior + ridge)[1] / (2 * size)

    stacked = np.concatenate([probabilities, labels])
    joint = stacked @ stacked.T + epsilon * np.eye(2 * size)
    weights = np.linalg.inv(joint)
    weights[:size, :size] -= inverse
    gradient = weights @ stacked / size
    return value, gradient[size:], gradient[:size]


def qr_oracle(labels, probabilities, epsilon):
    """The same without any covariance: QR of [P^T Y^T; sqrt(a) I].

    The block R_22 of the factor satisfies R_22^T R_22 = M + a I, and
    K = R_11^-1 R_12 is the ridge regression of Y on P. With the residual
    E = Y - K^T P: d value / dY = 1/d (M + a I)^-1 E and
    d value / dP = -1/d K (M + a I)^-1 E. Nothing is cancelled.
    """
    size = len(labels)
    stacked = np.concatenate([probabilities, labels]).T
    stacked = np.concatenate([stacked, np.sqrt(epsilon) * np.eye(2 * size)])
    factor = np.linalg.qr(stacked, mode="r")
    last = factor[size:, size:]
    value = np.log(np.abs(np.diag(last))).sum() / size

    regression = np.linalg.solve(factor[:size, :size], factor[:size, size:])
    residual = labels - regression.T @ probabilities
    scaled = np.linalg.solve(last, np.linalg.solve(last.T, residual))
    return value, scaled / size, -regression @ scaled / size


def posterior_log_determinant(
    labels, probabilities, radius, epsilon, oracle=qr_oracle
):
    """Two maps (N, H, W, C) -> values (N, C) and both gradients."""
    labels = np.asarray(labels, "float64")
    probabilities = np.asarray(probabilities, "float64")
    (batch, height, width, classes) = labels.shape
    values = np.zeros((batch, classes))
    label_gradient = np.zeros(labels.shape)
    probability_gradient = np.zeros(labels.shape)
    for index in np.ndindex(batch, classes):
        plane = np.s_[index[0], :, :, index[1]]
        values[index], by_label, by_probability = oracle(
            centred_vectors(labels[plane], radius),
            centred_vectors(probabilities[plane], radius),
            epsilon,
        )
        # The means need no term of their own: both gradients are linear in
        # centred rows, so each of their rows sums to zero already.
        shape = (height, width)
        label_gradient[plane] = scatter_regions(by_label, radius, shape)
        probability_gradient[plane] = scatter_regions(
            by_probability, radius, shape
        )
    return values, label_gradient, probability_gradient
