"""Lovász extensions of the Jaccard loss in float64, by their definition."""

import itertools

import numpy as np

from reference.overlap import mean_over_classes


def jaccard_of_errors(truth, weights, wrong):
    """Jaccard loss of a class when the pixels `wrong` are, and no others."""
    intersection = np.sum(weights * truth * ~wrong)
    union = np.sum(weights * truth) + np.sum(weights * (1 - truth) * wrong)
    return 1 - intersection / union if union > 0 else 0.0


def extension(errors, truth, weights):
    """Value and slopes to the errors: pixels go wrong one after the other."""
    wrong = np.zeros(len(errors), bool)
    slopes, before = np.zeros(len(errors)), 0.0
    for pixel in np.argsort(-errors, kind="stable"):
        wrong[pixel] = True
        after = jaccard_of_errors(truth, weights, wrong)
        slopes[pixel] = after - before
        before = after
    return np.sum(errors * slopes), slopes


def choquet_integral(errors, truth, weights):
    """The same value as an integral of set functions over thresholds."""
    levels = np.unique(np.append(errors, 0.0))
    return sum(
        (high - low) * jaccard_of_errors(truth, weights, errors >= high)
        for low, high in itertools.pairwise(levels)
    )


def lovasz_softmax_loss(y_true, y_pred, **options):
    """Values (N,) and the gradient of their sum to `y_pred`."""

    def loss(truth, p, weights):
        value, slopes = extension(np.abs(truth - p), truth, weights)
        return value, slopes * np.sign(p - truth)

    return mean_over_classes(loss, y_true, y_pred, **options)


def lovasz_hinge_loss(y_true, y_pred, *, from_logits=False, **options):
    """Values (N,) and the gradient of their sum to `y_pred`."""
    y_pred = np.asarray(y_pred, "float64")
    logits = y_pred if from_logits else np.log(y_pred) - np.log1p(-y_pred)

    def loss(truth, x, weights):
        signs = 2 * truth - 1
        errors = np.maximum(1 - x * signs, 0.0)
        value, slopes = extension(errors, truth, weights)
        return value, -slopes * signs * (errors > 0)

    # Its scores are read as they are, like probabilities.
    values, gradient = mean_over_classes(
        loss, y_true, logits, classes="all", **options
    )
    if not from_logits:
        gradient = gradient / (y_pred * (1 - y_pred))
    return values, gradient
