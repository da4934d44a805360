"""What labels and weights mean, pixel by pixel."""

import numpy as np


def read_labels(y_true, num_classes, ignore_class=None):
    """Labels in any accepted form -> targets (N, H, W, C), valid (N, H, W)."""
    y_true = np.asarray(y_true)
    ignored = [] if ignore_class is None else np.ravel(ignore_class)
    if num_classes > 1 and y_true.ndim == 4 and y_true.shape[-1] > 1:
        targets = y_true.astype("float64")
        valid = np.ones(y_true.shape[:3], bool)
        if ignore_class is not None:
            valid = (targets != 0).any(axis=-1)
        for ignored_id in ignored:
            if 0 <= ignored_id < num_classes:
                # Void where the ids of the same map would be ignored.
                valid &= targets[..., ignored_id] <= 0.5
    else:
        ids = y_true[..., 0] if y_true.ndim == 4 else y_true
        ids = ids.astype("float64")
        valid = (ids >= 0) & (ids <= max(num_classes - 1, 1))
        valid &= ~np.isin(ids, ignored)
        if num_classes > 1:
            targets = ids[..., None] == np.arange(num_classes)
        else:
            targets = ids[..., None]
    return np.where(valid[..., None], targets, 0.0), valid


def read_weights(sample_weight, shape):
    """Weights -> one per image (N,) and one per pixel (N, H, W)."""
    image_weights = np.ones(shape[0])
    pixel_weights = np.ones(shape[:3])
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight, "float64")
        if sample_weight.ndim <= 2:
            image_weights = sample_weight.reshape(shape[0])
        else:
            pixel_weights = sample_weight.reshape(shape[:3])
    return image_weights, pixel_weights
