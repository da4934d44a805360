"""Affinity field loss in float64, pair by pair: one value per image."""

import itertools

import numpy as np

from reference.labels import read_labels, read_weights
from reference.pixelwise import log_softmax
from reference.rmi import pixel_term


def affinity_field_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    sizes=(1,),
    margin=3.0,
    affinity_weight=1.0,
    edge_weight=1.0,
    non_edge_weight=1.0,
    activation="softmax",
    shares=None,
    from_logits=False,
    ignore_class=None,
    class_weights=None,
):
    """Values (N,); `shares` (S, 2, C) replace the mean over the sizes."""
    sizes = np.atleast_1d(sizes)
    y_pred = np.asarray(y_pred, "float64")
    num_classes = y_pred.shape[-1]
    targets, valid = read_labels(y_true, num_classes, ignore_class)
    image_weights, pixel_weights = read_weights(sample_weight, y_pred.shape)
    pixel_weights = pixel_weights * valid
    if class_weights is None:
        class_weights = np.ones(num_classes)
    class_weights = np.asarray(class_weights, "float64")
    value, _ = pixel_term(
        targets, y_pred, pixel_weights, activation, from_logits, class_weights
    )
    if shares is None:
        shares = np.full((len(sizes), 2, num_classes), 1 / len(sizes))
    log_on, log_off = logarithms(y_pred, activation, from_logits)
    weights = class_weights * [[edge_weight], [non_edge_weight]]
    for image in range(len(y_pred)):
        for size, share in zip(sizes, shares, strict=True):
            terms = pair_terms(
                log_on[image],
                log_off[image],
                targets[image] > 0.5,
                pixel_weights[image] > 0,
                size,
                margin,
            )
            value[image] += affinity_weight * np.sum(share * weights * terms)
    return image_weights * value


def logarithms(y_pred, activation, from_logits):
    """ln p and ln (1 - p)."""
    if activation == "sigmoid" and from_logits:
        return -np.logaddexp(0, -y_pred), -np.logaddexp(0, y_pred)
    if not from_logits:
        if activation == "softmax":
            y_pred = y_pred / y_pred.sum(axis=-1, keepdims=True)
        return np.log(y_pred), np.log1p(-y_pred)
    logs = log_softmax(y_pred)
    others = [
        np.logaddexp.reduce(np.delete(logs, c, axis=-1), axis=-1)
        for c in range(y_pred.shape[-1])
    ]
    return logs, np.stack(others, axis=-1)


def pair_terms(log_on, log_off, on, valid, size, margin):
    """Means over edges and over other pairs, class by class: (2, C)."""
    i, j = pairs(valid, size)
    divergence = np.exp(log_on[j]) * (log_on[j] - log_on[i])
    divergence += np.exp(log_off[j]) * (log_off[j] - log_off[i])
    edge = on[i] != on[j]
    apart = np.maximum(0.0, margin - divergence)
    return np.stack(
        [
            np.where(kind, cost, 0.0).sum(axis=0) / max(1, kind.sum())
            for kind, cost in ((edge, apart), (~edge, divergence))
        ]
    )


def pairs(valid, size):
    """Indices of all valid pixels i and their 8 valid neighbours j."""
    height, width = valid.shape
    found = []
    for row, column in itertools.product(range(height), range(width)):
        for down, right in itertools.product((-size, 0, size), repeat=2):
            there = (row + down, column + right)
            inside = 0 <= there[0] < height and 0 <= there[1] < width
            if (
                inside
                and there != (row, column)
                and valid[row, column]
                and valid[there]
            ):
                found.append((row, column, *there))
    found = np.array(found, int).reshape(-1, 4).T
    return tuple(found[:2]), tuple(found[2:])


def numerical_gradient(function, x, step=1e-5):
    """Central differences of a scalar `function` at every entry of `x`."""
    gradient = np.zeros(x.shape)
    for position in np.ndindex(x.shape):
        above, below = x.astype("float64"), x.astype("float64")
        above[position] += step
        below[position] -= step
        gradient[position] = function(above) - function(below)
    return gradient / (2 * step)
