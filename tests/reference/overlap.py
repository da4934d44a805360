"""Losses of areas in float64, image by image and class by class."""

import numpy as np

from reference.labels import read_labels, read_weights
from reference.pixelwise import activate

EPSILON = 1e-7


def tversky_loss(y_true, y_pred, *, alpha=0.5, beta=0.5, smooth=0.0, **options):
    """Values (N,) and the gradient of their sum to `y_pred`."""

    def loss(truth, p, weights):
        """One minus the index and its slope, for the valid pixels alone."""
        weights = weights / weights.mean()
        hit = np.sum(weights * p * truth)
        false_alarm = np.sum(weights * p * (1 - truth))
        missed = np.sum(weights * (1 - p) * truth)
        above = hit + smooth
        below = hit + alpha * false_alarm + beta * missed + smooth + EPSILON
        slope = truth + alpha * (1 - truth) - beta * truth
        slope = weights * (above * slope - below * truth) / below**2
        return 1 - above / below, slope

    return mean_over_classes(loss, y_true, y_pred, **options)


def dice_loss(y_true, y_pred, **options):
    return tversky_loss(y_true, y_pred, alpha=0.5, beta=0.5, **options)


def jaccard_loss(y_true, y_pred, **options):
    return tversky_loss(y_true, y_pred, alpha=1.0, beta=1.0, **options)


def mean_over_classes(
    loss,
    y_true,
    y_pred,
    *,
    sample_weight=None,
    classes="present",
    activation="softmax",
    from_logits=False,
    ignore_class=None,
    class_weights=None,
):
    """Mean of `loss(truth, p, weights)` of lists of pixels, with gradient."""
    y_pred = np.asarray(y_pred, "float64")
    num_classes = y_pred.shape[-1]
    targets, valid = read_labels(y_true, num_classes, ignore_class)
    image_weights, pixel_weights = read_weights(sample_weight, y_pred.shape)
    p, adjoint = y_pred, lambda gradient: gradient
    if from_logits:
        p, adjoint = activate(y_pred, activation)
    if class_weights is None:
        class_weights = np.ones(num_classes)
    values = np.zeros(len(y_pred))
    gradient = np.zeros(y_pred.shape)
    for n in range(len(y_pred)):
        seen = valid[n] & (pixel_weights[n] > 0)
        counted = [
            c
            for c in range(num_classes)
            if seen.any() and (classes == "all" or targets[n, seen, c].any())
        ]
        total = sum(class_weights[c] for c in counted)
        for c in counted:
            value, slope = loss(
                targets[n, seen, c], p[n, seen, c], pixel_weights[n, seen]
            )
            share = class_weights[c] / total if total else 0.0
            values[n] += share * value
            gradient[n, seen, c] = share * slope
    scale = image_weights[:, None, None, None]
    return image_weights * values, scale * adjoint(gradient)
