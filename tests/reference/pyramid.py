"""Softmax cross entropy of resized maps in float64."""

import fractions

import numpy as np

from reference.labels import read_labels, read_weights
from reference.rmi import pixel_term


def pyramid_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    scales=(0.25, 0.5, 0.75, 1.0),
    from_logits=False,
    ignore_class=None,
    class_weights=None,
):
    """Values (N,) and the gradient of their sum to `y_pred`."""
    y_pred = np.asarray(y_pred, "float64")
    num_classes = y_pred.shape[-1]
    targets, valid = read_labels(y_true, num_classes, ignore_class)
    image_weights, pixel_weights = read_weights(sample_weight, y_pred.shape)
    pixel_weights = pixel_weights * valid
    valid = (pixel_weights > 0).astype("float64")[..., None]
    if class_weights is None:
        class_weights = np.ones(num_classes)
    value, gradient = 0.0, np.zeros(y_pred.shape)
    for scale in scales:
        (rows, by_row), (columns, by_column) = (
            samples(length, scale) for length in y_pred.shape[1:3]
        )

        def resize(x, by_row=by_row, by_column=by_column):
            return np.einsum("ih,jw,nhwc->nijc", by_row, by_column, x)

        taken = (slice(None), rows[:, None], columns)
        share = np.where(valid[taken] > 0, resize(valid), 1.0)
        term, slope = pixel_term(
            targets[taken],
            np.where(valid[taken] > 0, resize(valid * y_pred) / share, 1.0),
            pixel_weights[taken],
            "softmax",
            from_logits,
            np.asarray(class_weights, "float64"),
        )
        value = value + term
        slope = np.where(valid[taken] > 0, slope / share, 0.0)
        gradient += valid * np.einsum(
            "ih,jw,nijc->nhwc", by_row, by_column, slope
        )
    factor = image_weights / len(scales)
    return factor * value, factor[:, None, None, None] * gradient


def samples(length, scale):
    """Nearest pixels (h,) and weights (h, H) of the samples of an axis."""
    count = max(1, int(np.floor(fractions.Fraction(str(scale)) * length)))
    nearest = []
    weights = np.zeros((count, length))
    for sample in range(count):
        position = fractions.Fraction(sample * (length - 1), max(count - 1, 1))
        nearest.append(int(np.floor(position + fractions.Fraction(1, 2))))
        for pixel in range(length):
            weights[sample, pixel] = max(0, 1 - abs(position - pixel))
    return np.array(nearest), weights
