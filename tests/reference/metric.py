"""Mean lower bound of the mutual information, per class, in float64."""

import numpy as np

from reference.downsampling import as_pair, downsample
from reference.labels import read_labels, read_weights
from reference.pixelwise import activate
from reference.regions import posterior_log_determinant


def bounds(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    radius=3,
    pooling="avg",
    pool_size=3,
    activation="sigmoid",
    from_logits=False,
    ignore_class=None,
    epsilon=5e-4,
):
    """Bounds in nats and their weights, both (N, C)."""
    y_pred = np.asarray(y_pred, "float64")
    targets, valid = read_labels(y_true, y_pred.shape[-1], ignore_class)
    image_weights, pixel_weights = read_weights(sample_weight, y_pred.shape)
    mask = (valid & (pixel_weights > 0))[..., None]
    if from_logits:
        y_pred = activate(y_pred, activation)[0]
    labels, _ = downsample(targets * mask, pooling, pool_size, "nearest")
    small, _ = downsample(y_pred * mask, pooling, pool_size)
    values, _, _ = posterior_log_determinant(labels, small, radius, epsilon)
    occurs = labels.any(axis=(1, 2))
    return -np.prod(as_pair(radius)) * values, image_weights[:, None] * occurs


def mean_bounds(bounds, weights):
    """(N, C) and (N, C) -> (C,), NaN for a class without weight."""
    total = np.where(weights > 0, weights * bounds, 0.0).sum(axis=0)
    weight = weights.sum(axis=0)
    seen = weight > 0
    return np.where(seen, total / np.where(seen, weight, 1.0), np.nan)
