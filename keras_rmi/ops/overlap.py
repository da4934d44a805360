"""Areas of classes in an image: sums over pixels, means over classes.

What counts per class has the shape (N,C); a pixel counts with its weight, and
not at all where void.
"""

import keras
from keras import ops

from keras_rmi.ops.weights import not_zero


def overlap_loss(probabilities, labels, alpha, beta, smooth):
    """One minus the Tversky index (N,C), and the area of each class (N,C).

    Weights of pixels are scaled to a mean of one, so that `smooth` is in
    pixels whatever they are. Products with maps are few: each is kept for the
    gradient.
    """
    weight, truth = labels.weight[..., None], labels.dense()
    weighted = weight * probabilities
    hit, predicted, labelled = (
        over_pixels(x) for x in (weighted * truth, weighted, weight * truth)
    )
    total = over_pixels(weight)
    scale = over_pixels(labels.valid[..., None]) / not_zero(total)
    hit, predicted, labelled = (scale * x for x in (hit, predicted, labelled))
    false_positive, false_negative = predicted - hit, labelled - hit
    union = hit + alpha * false_positive + beta * false_negative
    # Keras adds the same, so that an empty class is no division by zero.
    union = union + smooth + keras.config.epsilon()
    return 1.0 - (hit + smooth) / union, labelled


def mean_over_classes(values, labelled, labels, classes, class_weights):
    """Weighted mean (N,) of values (N,C) over "all" classes or those present.

    `labelled` is the area (N,C) of each class in the labels. An image in which
    no class counts has the mean 0.
    """
    if classes == "present":
        share = ops.cast(labelled != 0.0, "float32")
    else:
        # One axis at a time: Keras 3.10 takes no more on every backend.
        any_pixel = ops.any(ops.any(labels.weight != 0.0, axis=2), axis=1)
        share = ops.cast(any_pixel, "float32")[:, None]
        share = share * ops.ones_like(values)
    if class_weights is not None:
        share = share * class_weights
    total = ops.sum(share, axis=-1)
    return ops.sum(share * values, axis=-1) / not_zero(total)


def over_pixels(x):
    """Sums (N,C) of maps (N,H,W,C), by rows first as XLA adds in order."""
    return ops.sum(ops.sum(x, axis=2), axis=1)
