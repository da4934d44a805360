"""Region mutual information of label and probability planes, in float32.

A plane is the down-sampled map of one class of one image. With regions of `d`
pixels, the arrays of every step are

    labels Y, probabilities P          (planes, h, w)
    centred P, residual E = Y - t P    (planes, 2, h, w)  t: a number a plane
    coordinates Z of P and E           (2D, n)            one band at a time
    products Z Z', and sums            (planes, 2D + 1, 2D + 1)
    joint matrix J                     (planes, 2d, 2d)
    K: last d rows of [L^-1, -L^-1 m]  (planes, d, 2d + 1)  see `whitening`
    value  -sum_i log c_i K_i,d+i / d  (planes,)  c: diagonal of L, no labels

Regions that lie one below the other share most of their pixels, so they are
taken in groups: D = d (2R-2)/R coordinates stand for R - 1 regions, and n is
the number of groups. A large plane goes in bands of groups, each of which
stays in the cache. What remains at the lower border goes one by one, D = d.
The products of the regions' own coordinates, T times a region with T the
binomial filters of `regions`, are A_i Z Z' A_i' summed over the members i;
A_i also puts P before E, which Z has side by side.

J = L L' is these products, centred by the mean m of the coordinates, +
a [[G, -t G], [-t G, (1 + t^2) G]], G = T T'.
Both changes of variables have a determinant that is known, so the value is
that of the textbook form
1/(2d) log det(M + a I), M = S_YY - S_YP (S_PP + a I)^-1 S_PY, but nothing
large is subtracted from something large: the residual takes out what P
explains of Y, the filters what neighbouring pixels have in common.

The gradient is a product of the same small matrices: the cotangent of a
region's coordinates is K'K times them, / d. So Z, which is several times as
large as the planes, is made again instead of being kept, and T', K'K and the
A_i become one matrix, so that one product gives the cotangents of the pixels
of the groups themselves.
"""

import functools
import math

import numpy as np
from keras import ops

from keras_rmi import (
    _backend,
    _backend_blocks,
    _backend_modes,
    _backend_regions,
    _backend_windows,
)
from keras_rmi.ops.bands import Bands, regions_in_group
from keras_rmi.ops.inputs import one_or_nan
from keras_rmi.ops.regions import (
    binomial_matrix,
    member_matrices,
    overlap_add,
)
from keras_rmi.ops.whitening import (
    centred_moments,
    joint_prior,
    whitening_matrix,
)


def region_statistics(labels, probabilities, radius, epsilon):
    """Value and what its gradient needs, from planes (planes, h, w).

    Returns `1/(2d) log det(M + epsilon I) - 1/2 ln epsilon`, (planes,), and
    `gradients(of_labels)`, which gives the derivatives with respect to the
    probabilities and, if wanted, the labels.
    """
    options, memory = (radius, epsilon), {}
    found = _evaluate((labels, probabilities), *options, memory=memory)

    def gradients(of_labels=False):
        return _differentiate(found, *options, of_labels, memory=memory)

    return found[0], gradients


def _shapes(planes, radius, epsilon):
    """Of what `_evaluate` returns."""
    n, height, width = planes[0].shape
    size = 2 * radius[0] * radius[1]
    half = size // 2
    return (n,), (n, 2, height, width), (n,), (n, half, size + 1)


@_backend_modes.operation(
    "region_statistics", "Tensor[] arrays, int[] radius, float epsilon", _shapes
)
def _evaluate(planes, radius, epsilon, memory):
    """The value, the pair of planes, t and K."""
    radius = tuple(radius)  # a list where it comes through a compiler
    dimension = math.prod(radius)
    basis = _backend.constant(binomial_matrix(radius), planes[0])
    metric = epsilon * _backend.matmul(basis, ops.swapaxes(basis, 0, 1))
    step = regions_in_group(planes[0], radius)
    bands = Bands(planes[0], radius, step)

    def products(planes):
        pair, t = _residual(*planes, radius, epsilon)

        def of_band(band):
            z = _backend_regions.samples(band, radius, step, memory)
            return _backend_regions.second_moments(z)

        return pair, t, _backend_blocks.sum_bands(of_band, pair, *bands.layout)

    pair, t, of_groups = _backend_blocks.map_planes(
        products, planes, bands.plane_bytes
    )
    moments = _of_regions(of_groups, _members(radius, step, pair))
    rest = _rest(pair, bands, radius, memory)
    if rest is not None:
        products = _backend_regions.second_moments(rest)
        moments += _of_regions(products, _members(radius, 1, pair))
    scatter, mean = centred_moments(moments)
    matrix = scatter + joint_prior(t, metric)
    finite = ops.isfinite(ops.sum(matrix, axis=(-2, -1), keepdims=True))
    whitening = whitening_matrix(
        matrix, finite, mean, pair, t, radius, epsilon
    )[..., dimension:, :]
    diagonal = whitening[..., dimension:-1]
    diagonal = ops.diagonal(diagonal, axis1=-2, axis2=-1)
    # Entry by entry: large logarithms would lose digits in their difference.
    prior = _prior_diagonal(radius, epsilon)
    ratio = diagonal * _backend.constant(prior, diagonal)
    value = -ops.mean(ops.log(ratio), axis=-1)
    # Labels that are the same everywhere have the value 0, whose rounding
    # would add up over many classes that are absent.
    labelled = ops.diagonal(scatter, axis1=-2, axis2=-1)[..., dimension:]
    labelled = ops.sum(labelled, axis=-1) > 0.0
    value = _backend.where(labelled, value, 0.0)
    value = value * one_or_nan(finite[..., 0, 0])
    return value, pair, t, whitening


def _gradient_shapes(found, radius, epsilon, of_labels):
    n, _, height, width = found[1].shape
    return ((n, height, width),) * (1 + of_labels)


@_backend_modes.operation(
    "region_gradients",
    "Tensor[] arrays, int[] radius, float epsilon, bool of_labels",
    _gradient_shapes,
)
def _differentiate(found, radius, epsilon, of_labels, memory):
    """Of the probabilities and, if wanted, the labels."""
    value, pair, t, whitening = found
    radius = tuple(radius)
    dimension = math.prod(radius)
    basis = _backend.constant(binomial_matrix(radius), pair)
    step = regions_in_group(pair, radius)
    bands = Bands(pair, radius, step)
    whitening = whitening * one_or_nan(ops.isfinite(value))[:, None, None]
    # Cotangents of the vectors of P and E: (planes, d, 2d + 1) each.
    to_probabilities, to_residual = (
        _backend.matmul(
            ops.swapaxes(_backend.matmul(block, basis), -1, -2), whitening
        )
        / dimension
        for block in (whitening[..., :dimension], whitening[..., dimension:-1])
    )
    matrices = [to_probabilities - t[..., None, None] * to_residual]
    if of_labels:
        matrices.append(to_residual)
    members = _members(radius, step, pair)
    to_groups = [_to_groups(m, members, radius) for m in matrices]

    def pull_back(arrays):
        pair, *to_groups = arrays

        def of_band(band):
            z = _backend_regions.samples(band, radius, step, memory)
            return tuple(
                _cotangent(m, z, band, radius, step, memory) for m in to_groups
            )

        found = _backend_blocks.overlap_bands(of_band, pair, *bands.layout)
        return tuple(_as_high_as(pair, upper) for upper in found)

    cotangents = _backend_blocks.map_planes(
        pull_back, (pair, *to_groups), bands.plane_bytes
    )
    rest = _rest(pair, bands, radius, memory)
    memory.clear()
    if rest is None:
        return cotangents
    members = _members(radius, 1, pair)
    of_rest = [_to_groups(m, members, radius) for m in matrices]
    return tuple(
        _backend_windows.add_rows(
            cotangent,
            _cotangent(m, rest, bands.rest(pair), radius, 1, {}),
            bands.rows(pair),
        )
        for cotangent, m in zip(cotangents, of_rest)
    )


def _residual(labels, probabilities, radius, epsilon):
    """Centred [P, Y - t P] (..., 2, h, w), and t."""
    labels = _centred(labels, radius)
    probabilities = _centred(probabilities, radius)
    # The value does not depend on t: the ridge coefficient only makes the
    # residual small, also for a class that is absent. Where no centre is of
    # the class, but a corner of every region, it is zero, as the gradient is.
    y, p = _centres(labels, radius), _centres(probabilities, radius)
    both = ops.sum(y * p, axis=(-2, -1))
    own = ops.sum(ops.square(p), axis=(-2, -1))
    # Where the centres are alike and the rest is not, they would make the
    # residual large; with the mean of the plane it is no larger than Y.
    count = _backend.constant(math.prod(ops.shape(p)[-2:]), own)
    mean = ops.mean(ops.square(probabilities), axis=(-2, -1))
    t = both / (ops.maximum(own, count * mean) + epsilon)
    residual = labels - t[..., None, None] * probabilities
    return ops.stack([probabilities, residual], axis=-3), t


def _centred(planes, radius):
    """Planes without the mean of the pixels in the centre of a region.

    A plane that is constant but for a padded border comes out as zeros there;
    the second pass removes the rounding of the first. Rows are summed first:
    XLA adds one after the other, and the rounding of n equal terms in a row
    exceeds epsilon where a map is constant.
    """
    for _ in range(2):
        centres = _centres(planes, radius)
        mean = ops.mean(ops.mean(centres, axis=-1), axis=-1)
        planes = planes - mean[..., None, None]
    return planes


def _centres(planes, radius):
    """The pixels in the centre of a region: (..., h - R + 1, w - R + 1)."""
    for axis, size in enumerate(radius, start=len(planes.shape) - 2):
        planes = _backend_windows.shift(planes, size // 2, size, axis)
    return planes


def _as_high_as(pair, above):
    """Planes (..., h, w) from their upper rows, zero below."""
    height = above.shape[-2]
    if height is not None and height == pair.shape[-2]:
        return above
    below = pair[..., 0, ops.shape(above)[-2] :, :]
    return ops.concatenate([above, ops.zeros_like(below)], axis=-2)


def _rest(pair, bands, radius, memory):
    """Coordinates of the regions in no band, or None; kept for the gradient."""
    rows = bands.rest(pair)
    if rows is None:
        return None
    if "rest" not in memory:
        memory["rest"] = _backend_regions.samples(rows, radius, 1, {})
    return memory["rest"]


def _cotangent(matrix, z, pair, radius, step, memory):
    """Upper rows of planes, as many as have whole groups; `z` is of `pair`."""
    height, width = ops.shape(pair)[-2:]
    shape = ((height - radius[0] + 1) // step, width - radius[1] + 1)
    y = _backend_regions.transform(matrix, z, memory)
    y = _backend.reshape(y, (*ops.shape(y)[:-1], *shape))
    return overlap_add(y, radius, step)


def _members(radius, step, like):
    """`member_matrices`, where `like` is."""
    matrices = member_matrices(radius, step)
    return [_backend.constant(matrix, like) for matrix in matrices]


def _of_regions(products, members):
    """Products of the coordinates of all regions, from those of groups."""
    total = 0.0
    for member in members:
        half = _backend.matmul(member, products)
        total += _backend.matmul(half, ops.swapaxes(member, 0, 1))
    return total


def _to_groups(matrix, members, radius):
    """From a region's pixels and coordinates to a group's of each.

    (planes, d, 2d + 1) to (planes, D, 2D + 1): region i of a group begins in
    its row i.
    """
    columns, step = radius[1], len(members)
    total = 0.0
    for i, member in enumerate(members):
        rows = [(0, 0), (i * columns, (step - 1 - i) * columns), (0, 0)]
        total += _backend.pad(_backend.matmul(matrix, member), rows)
    return total


@functools.cache
def _prior_diagonal(radius, epsilon):
    """Of the factor of epsilon G, (d,): L_ii without labels."""
    basis = binomial_matrix(radius).astype(float)
    diagonal = np.diagonal(np.linalg.cholesky(basis @ basis.T))
    return math.sqrt(epsilon) * diagonal
