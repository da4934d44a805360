"""The lower bound of the mutual information of two maps."""

import math

from keras import ops

from keras_rmi import _backend_gradients, _backend_modes
from keras_rmi._types import IntOrPair
from keras_rmi._validation import (
    check_number,
    check_pair,
    compatible,
    message,
)
from keras_rmi.ops.inputs import read_map
from keras_rmi.ops.statistics import region_statistics


def region_mutual_information(
    labels,
    probabilities,
    radius: IntOrPair = 3,
    epsilon: float = 5e-4,
):
    """Lower bound of the mutual information of two maps, in nats.

    For people who compare maps that are not labels, or who want the bound
    itself instead of a loss. Each pixel stands for its region of `R x R`
    pixels, a vector of `d = R * R` entries. Returns, per image and class,

        -1/2 log det(M + a I)
        M = S_YY - S_YP (S_PP + a I)^-1 S_PY

    with `S` the sums over the `n` regions of products of centred region
    vectors of `labels` Y and `probabilities` P, and `a` the `epsilon`. The
    mutual information of the two vectors is bounded from below by this value
    plus a constant of the labels alone, as `a` goes to 0:

        I(Y; P) >= -1/2 log det(M) + d/2 ln n - d/2 ln(2 pi e) + H(Y)

    with `H(Y)` the entropy of the label vectors. The largest possible value
    is `-d/2 ln a`: the labels are a linear function of the probabilities.

    Nothing is down-sampled, offset or masked here.

    Args:
        labels: A floating map (N,H,W,C).
        probabilities: A floating map of the same shape. Gradients flow to
            both maps.
        radius: Side R of the region, an integer >= 1 or a pair
            (rows, columns). Defaults to `3`.
        epsilon: Regulariser of both covariances, > 0. Defaults to `5e-4`.

    Returns:
        The bound in nats, (N,C), float32.

    Example:

    >>> import numpy as np
    >>> from keras_rmi.ops import region_mutual_information
    >>> y, x = np.mgrid[:8, :8].astype("float32") / 8
    >>> labels, other = y[None, ..., None], (x * y)[None, ..., None]
    >>> [round(float(region_mutual_information(labels, p, radius=2)[0, 0]), 2)
    ...  for p in (labels, other)]
    [14.86, 12.45]

    References:
        Zhao, Wang, Yang, Cai, 2019, "Region Mutual Information Loss for
        Semantic Segmentation", https://arxiv.org/abs/1910.12037
    """
    radius = check_pair("radius", radius)
    epsilon = check_number("epsilon", epsilon, 0.0, open_minimum=True)
    labels, shape = read_map("labels", labels)
    probabilities, other = read_map("probabilities", probabilities)
    if not compatible(other, shape):
        raise ValueError(
            message("probabilities.shape", f"that of `labels`, {shape}", other)
        )
    if any(
        length is not None and length < side
        for length, side in zip(shape[1:3], radius)
    ):
        raise ValueError(
            message("radius", f"a region that fits into {shape[1:3]}", radius)
        )
    channels = shape[-1]

    def bound(stacked):
        """Both maps stacked as (2,N,H,W,C), so that there is one gradient."""
        _, n, height, width, _ = ops.shape(stacked)
        planes = ops.transpose(stacked, (0, 1, 4, 2, 3))
        planes = ops.reshape(planes, (2, n * channels, height, width))
        value, gradients = region_statistics(
            planes[0], planes[1], radius, epsilon
        )
        # The statistics are offset and divided by d, as the loss wants them.
        scale = -float(radius[0] * radius[1])
        value = scale * (value + 0.5 * math.log(epsilon))

        def gradient(upstream):
            to_probabilities, to_labels = gradients(of_labels=True)
            both = ops.stack([to_labels, to_probabilities])
            weight = ops.reshape(scale * upstream, (n * channels, 1, 1))
            both = ops.reshape(both * weight, (2, n, channels, height, width))
            return ops.transpose(both, (0, 1, 3, 4, 2))

        return ops.reshape(value, (n, channels)), gradient

    def of_both(*maps):
        stacked = ops.stack([ops.cast(x, "float32") for x in maps])
        return _backend_gradients.custom_gradient(bound, stacked)

    return _backend_modes.by_images(of_both, labels, probabilities)
