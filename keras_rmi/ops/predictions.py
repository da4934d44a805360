"""What a prediction means: its probabilities, pixel loss and gradient.

Four readings of predictions x (...,C): logits or probabilities, of independent
classes (sigmoid) or of exclusive ones (softmax). Each offers

    probabilities(x)              p (...,C), what enters the statistics
    pixel_loss(x, labels)         (...), weighted by class, summed over them
    gradient(x, labels, scale, cotangent)
                                  scale * d pixel_loss / dx + cotangent dp/dx

with `scale` (...,1) and `cotangent` (...,C), of which one may be None.
The gradients are written out because they need nothing but x: automatic
differentiation would keep several maps of the size of the logits.
"""

import keras
from keras import ops

from keras_rmi import _backend
from keras_rmi._backend_gradients import holds_arrays
from keras_rmi._validation import message


@holds_arrays("class_weights")
class SigmoidLogits:
    """loss = sum_c w_c (softplus(x_c) - y_c x_c), p = sigmoid(x)."""

    def __init__(self, class_weights=None):
        self.class_weights = class_weights

    def probabilities(self, x):
        return ops.sigmoid(x)

    def pixel_loss(self, x, labels):
        # softplus(x) = (x + |x|) / 2 - log sigmoid(|x|); a maximum with 0
        # instead would be written to memory by XLA in TensorFlow (2.21).
        size = ops.abs(x)
        twice, tail = x + size, ops.sigmoid(size)
        if self.class_weights is None:
            softplus = 0.5 * ops.sum(twice, axis=-1) - _sum_log(tail)
            return softplus - labels.pick(x)
        softplus = self.class_weights * (0.5 * twice - ops.log(tail))
        return ops.sum(softplus, axis=-1) - labels.pick(self.class_weights * x)

    def gradient(self, x, labels, scale, cotangent):
        p = self.probabilities(x)
        # Torch works in place where it can: that is twice as fast.
        if cotangent is not None:
            slope = 1.0 - p
            slope *= cotangent
        if scale is None:
            slope *= p
            return slope
        weighted = scale
        if self.class_weights is not None:
            weighted = self.class_weights * scale
        if cotangent is None:
            slope = p * weighted
        else:
            slope += weighted
            slope *= p
        return labels.subtract_from(slope, scale, self.class_weights)


@holds_arrays("class_weights")
class SoftmaxLogits:
    """loss = sum_c w_c y_c (log sum_k exp(x_k) - x_c), p = softmax(x)."""

    def __init__(self, class_weights=None):
        self.class_weights = class_weights

    def probabilities(self, x):
        return _backend.softmax(x)

    def pixel_loss(self, x, labels):
        weighted = x if self.class_weights is None else self.class_weights * x
        normaliser = ops.logsumexp(x, axis=-1)
        mass = labels.mass(self.class_weights)
        return mass * normaliser - labels.pick(weighted)

    def gradient(self, x, labels, scale, cotangent):
        slope = self.probabilities(x)
        factor = 0.0
        if scale is not None:
            factor = scale * labels.mass(self.class_weights)[..., None]
        if cotangent is not None:
            mean = ops.sum(slope * cotangent, axis=-1, keepdims=True)
            factor = cotangent + (factor - mean)
        slope *= factor  # in place on torch, as above
        if scale is None:
            return slope
        return labels.subtract_from(slope, scale, self.class_weights)


@holds_arrays("class_weights")
class SigmoidProbabilities:
    """loss = -sum_c w_c (y_c ln q_c + (1 - y_c) ln(1 - q_c)), q = clip(x)."""

    def __init__(self, class_weights=None):
        self.class_weights = class_weights

    def probabilities(self, x):
        return x

    def pixel_loss(self, x, labels):
        clipped = clip_probabilities(x)
        truth = labels.dense()
        loss = -truth * ops.log(clipped)
        loss = loss - (1.0 - truth) * ops.log(1.0 - clipped)
        if self.class_weights is not None:
            loss = self.class_weights * loss
        return ops.sum(loss, axis=-1)

    def gradient(self, x, labels, scale, cotangent):
        pixel = None
        if scale is not None:
            clipped = clip_probabilities(x)
            pixel = (clipped - labels.dense()) / (clipped * (1.0 - clipped))
            pixel = scale * _where_inside(x, pixel)
            if self.class_weights is not None:
                pixel = self.class_weights * pixel
        return _add(pixel, cotangent)


@holds_arrays("class_weights")
class SoftmaxProbabilities:
    """loss = -sum_c w_c y_c ln clip(x_c / sum_k x_k), as Keras has it."""

    def __init__(self, class_weights=None):
        self.class_weights = class_weights

    def probabilities(self, x):
        return x

    def pixel_loss(self, x, labels):
        logarithms = ops.log(clip_probabilities(self._share(x)))
        if self.class_weights is not None:
            logarithms = self.class_weights * logarithms
        return -labels.pick(logarithms)

    def gradient(self, x, labels, scale, cotangent):
        pixel = None
        if scale is not None:
            share = self._share(x)
            slope = _where_inside(
                share, -labels.dense() / clip_probabilities(share)
            )
            if self.class_weights is not None:
                slope = self.class_weights * slope
            mean = ops.sum(slope * share, axis=-1, keepdims=True)
            pixel = scale * (slope - mean) / ops.sum(x, -1, keepdims=True)
        return _add(pixel, cotangent)

    def _share(self, x):
        return x / ops.sum(x, axis=-1, keepdims=True)


def check_channels(activation, num_classes, fix=None):
    """Exclusive classes are two or more."""
    if activation == "softmax" and num_classes < 2:
        raise ValueError(
            message(
                "activation",
                "'sigmoid' for `y_pred` with one channel",
                activation,
                fix,
            )
        )


def read_predictions(activation, from_logits, class_weights):
    """The reading for an activation; `class_weights` (C,) or None."""
    reading = {
        ("sigmoid", True): SigmoidLogits,
        ("softmax", True): SoftmaxLogits,
        ("sigmoid", False): SigmoidProbabilities,
        ("softmax", False): SoftmaxProbabilities,
    }[activation, from_logits]
    return reading(class_weights)


def as_logits(activation, from_logits, x):
    """Logits of predictions, float32; of probabilities clipped as in Keras."""
    x = ops.cast(x, "float32")
    if from_logits:
        return x
    if activation == "softmax":
        return ops.log(
            clip_probabilities(x / ops.sum(x, axis=-1, keepdims=True))
        )
    clipped = clip_probabilities(x)
    return ops.log(clipped) - ops.log(1.0 - clipped)


def as_probabilities(activation, from_logits, x):
    """Probabilities of predictions, float32."""
    reading = read_predictions(activation, from_logits, None)
    return reading.probabilities(ops.cast(x, "float32"))


def _add(pixel, region):
    if pixel is None:
        return region
    return pixel if region is None else pixel + region


def _sum_log(x):
    """sum_c log x_c for x in [1/2, 1] by one logarithm per pixel.

    The product of 64 factors stays far from underflow. What is lost of a
    factor near 1, below 1e-7, is lost in the sum anyway.
    """
    parts = [
        ops.log(ops.prod(x[..., start : start + 64], axis=-1))
        for start in range(0, x.shape[-1], 64)
    ]
    return sum(parts)


def clip_probabilities(p):
    """Probabilities as far from 0 and 1 as those of Keras."""
    margin = keras.config.epsilon()
    ends = (_backend.constant(end, p) for end in (margin, 1.0 - margin))
    return ops.clip(p, *ends)


def _where_inside(p, slope):
    """`slope` where the clip is the identity, 0 elsewhere."""
    margin = keras.config.epsilon()
    inside = ops.logical_and(p >= margin, p <= 1.0 - margin)
    return ops.where(inside, slope, ops.zeros_like(slope))
