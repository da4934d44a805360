"""Cross entropy with smoothed labels in float64."""

import numpy as np

from reference.labels import read_labels, read_weights
from reference.rmi import pixel_term


def crossentropy(
    y_true,
    y_pred,
    *,
    activation,
    sample_weight=None,
    label_smoothing=0.0,
    class_reduction="sum",
    from_logits=False,
    ignore_class=None,
    class_weights=None,
):
    """Values (N,) and the gradient of their sum to `y_pred`."""
    y_pred = np.asarray(y_pred, "float64")
    num_classes = y_pred.shape[-1]
    targets, valid = read_labels(y_true, num_classes, ignore_class)
    image_weights, pixel_weights = read_weights(sample_weight, y_pred.shape)
    if class_weights is None:
        class_weights = np.ones(num_classes)
    uniform = 1 / 2 if activation == "sigmoid" else 1 / num_classes
    value, gradient = pixel_term(
        (1 - label_smoothing) * targets + label_smoothing * uniform,
        y_pred,
        pixel_weights * valid,
        activation,
        from_logits,
        np.asarray(class_weights, "float64"),
    )
    if class_reduction == "mean":
        image_weights = image_weights / num_classes
    scale = image_weights[:, None, None, None]
    return image_weights * value, scale * gradient
