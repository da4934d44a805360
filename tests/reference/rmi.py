"""The whole RMI loss in float64: one value per image and its gradient."""

import numpy as np

from reference.downsampling import downsample
from reference.labels import read_labels, read_weights
from reference.pixelwise import activate, cross_entropy
from reference.regions import posterior_log_determinant, qr_oracle

PROBABILITY_FLOOR = 1e-6


def lower_bound(epsilon=5e-4):
    """What the published quantity cannot fall below, per class."""
    return 0.5 * np.log(epsilon)


def rmi_loss(
    y_true,
    y_pred,
    *,
    sample_weight=None,
    radius=3,
    pooling="avg",
    pool_size=3,
    rmi_weight=0.5,
    activation="sigmoid",
    from_logits=False,
    ignore_class=None,
    class_weights=None,
    epsilon=5e-4,
    oracle=qr_oracle,
):
    """Values (N,) and the gradient of their sum to `y_pred`."""
    y_pred = np.asarray(y_pred, "float64")
    num_classes = y_pred.shape[-1]
    targets, valid = read_labels(y_true, num_classes, ignore_class)
    image_weights, pixel_weights = read_weights(sample_weight, y_pred.shape)
    if class_weights is None:
        class_weights = np.ones(num_classes)
    class_weights = np.asarray(class_weights, "float64")

    value = np.zeros(len(y_pred))
    gradient = np.zeros(y_pred.shape)
    if rmi_weight < 1:
        pixel, pixel_gradient = pixel_term(
            targets,
            y_pred,
            pixel_weights * valid,
            activation,
            from_logits,
            class_weights,
        )
        value += (1 - rmi_weight) * pixel
        gradient += (1 - rmi_weight) * pixel_gradient
    if rmi_weight > 0:
        probabilities, adjoint = y_pred, lambda gradient: gradient
        if from_logits:
            probabilities, adjoint = activate(y_pred, activation)
        rmi, rmi_gradient = rmi_term(
            targets,
            probabilities,
            valid & (pixel_weights > 0),
            radius,
            pooling,
            pool_size,
            class_weights,
            epsilon,
            oracle,
        )
        value += rmi_weight * rmi
        gradient += rmi_weight * adjoint(rmi_gradient)
    scale = image_weights[:, None, None, None]
    return image_weights * value, scale * gradient


def pixel_term(
    targets, y_pred, weights, activation, from_logits, class_weights
):
    """Weighted mean of the cross entropy over the pixels of each image."""
    values, gradient = cross_entropy(
        targets, y_pred, activation, from_logits, class_weights
    )
    total = weights.sum(axis=(1, 2), keepdims=True)
    share = weights / np.where(total > 0, total, 1.0)
    return (share * values).sum(axis=(1, 2)), share[..., None] * gradient


def rmi_term(
    targets,
    probabilities,
    valid,
    radius,
    pooling,
    pool_size,
    class_weights,
    epsilon,
    oracle=qr_oracle,
):
    """Sum over classes of the shifted value; gradient to probabilities."""
    mask = valid[..., None]
    labels, _ = downsample(targets * mask, pooling, pool_size, "nearest")
    small, pool_adjoint = downsample(
        probabilities * mask + PROBABILITY_FLOOR, pooling, pool_size
    )
    values, _, gradient = posterior_log_determinant(
        labels, small, radius, epsilon, oracle
    )
    gradient = mask * pool_adjoint(gradient * class_weights)
    return (values - lower_bound(epsilon)) @ class_weights, gradient
