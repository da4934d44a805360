"""Focal loss in float64."""

import numpy as np

from reference.labels import read_labels, read_weights
from reference.pixelwise import activate


def focal_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    gamma=2.0,
    alpha=None,
    activation="softmax",
    from_logits=False,
    ignore_class=None,
    class_weights=None,
):
    """Values (N,) and the gradient of their sum to `y_pred`."""
    y_pred = np.asarray(y_pred, "float64")
    num_classes = y_pred.shape[-1]
    y, valid = read_labels(y_true, num_classes, ignore_class)
    image_weights, pixel_weights = read_weights(sample_weight, y_pred.shape)
    if class_weights is None:
        class_weights = np.ones(num_classes)
    class_weights = np.asarray(class_weights, "float64")
    weights = pixel_weights * valid
    total = weights.sum(axis=(1, 2), keepdims=True)
    share = (weights / np.where(total > 0, total, 1.0))[..., None]
    p, adjoint = y_pred, lambda slope: slope
    if from_logits:
        p, adjoint = activate(y_pred, activation)
    elif activation == "softmax":
        p, adjoint = shares(y_pred)
    if activation == "softmax":
        factor = (1.0 if alpha is None else alpha) * class_weights * y
        values = -factor * (1 - p) ** gamma * np.log(p)
        slopes = gamma * (1 - p) ** (gamma - 1) * np.log(p)
        slopes = factor * (slopes - (1 - p) ** gamma / p)
    else:
        factor = class_weights / num_classes * np.ones(y.shape)
        if alpha is not None:
            factor = factor * (alpha * y + (1 - alpha) * (1 - y))
        miss = y * (1 - p) + (1 - y) * p
        entropy = -y * np.log(p) - (1 - y) * np.log1p(-p)
        values = factor * miss**gamma * entropy
        slopes = gamma * miss ** (gamma - 1) * (1 - 2 * y) * entropy
        slopes = slopes + miss**gamma * ((1 - y) / (1 - p) - y / p)
        slopes = factor * slopes
    values = image_weights * (share * values).sum(axis=(1, 2, 3))
    scale = image_weights[:, None, None, None]
    return values, scale * adjoint(share * slopes)


def shares(y_pred):
    """Predictions that sum to one, and the way back of a gradient."""
    total = y_pred.sum(axis=-1, keepdims=True)

    def adjoint(slope):
        inner = (slope * y_pred / total).sum(axis=-1, keepdims=True)
        return (slope - inner) / total

    return y_pred / total, adjoint
