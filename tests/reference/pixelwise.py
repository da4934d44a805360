"""Activations and cross entropies in float64, with their gradients."""

import numpy as np


def activate(logits, activation):
    """Probabilities, and the function that carries a gradient back."""
    if activation == "sigmoid":
        probabilities = np.exp(-np.logaddexp(0.0, -logits))
        slope = np.exp(-np.logaddexp(0.0, -logits) - np.logaddexp(0.0, logits))
        return probabilities, lambda gradient: gradient * slope
    probabilities = np.exp(log_softmax(logits))

    def adjoint(gradient):
        inner = (gradient * probabilities).sum(axis=-1, keepdims=True)
        return probabilities * (gradient - inner)

    return probabilities, adjoint


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def cross_entropy(targets, y_pred, activation, from_logits, class_weights):
    """Values (N, H, W), summed over classes, and gradient (N, H, W, C)."""
    weighted = targets * class_weights
    if activation == "sigmoid" and from_logits:
        log_on = -np.logaddexp(0.0, -y_pred)
        log_off = -np.logaddexp(0.0, y_pred)
        on_slope, off_slope = np.exp(log_off), -np.exp(log_on)
    elif activation == "sigmoid":
        log_on, log_off = np.log(y_pred), np.log1p(-y_pred)
        on_slope, off_slope = 1.0 / y_pred, -1.0 / (1.0 - y_pred)
    elif from_logits:
        logs = log_softmax(y_pred)
        total = weighted.sum(axis=-1, keepdims=True)
        gradient = np.exp(logs) * total - weighted
        return -(weighted * logs).sum(axis=-1), gradient
    else:
        # As in Keras, rows that do not sum to one are made to.
        sums = y_pred.sum(axis=-1, keepdims=True)
        total = weighted.sum(axis=-1, keepdims=True)
        values = -(weighted * np.log(y_pred / sums)).sum(axis=-1)
        return values, total / sums - weighted / y_pred
    rest = (1.0 - targets) * class_weights
    values = -(weighted * log_on + rest * log_off).sum(axis=-1)
    return values, -(weighted * on_slope + rest * off_slope)
