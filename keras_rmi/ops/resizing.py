"""Smaller copies of a map, with the corners aligned.

Along an axis of `length` pixels, sample i of `count` lies at the position
`i (length - 1) / (count - 1)`; a single sample lies at 0. Sizes may be tensors:
all arithmetic on them is that of integers, and thus the same everywhere.
"""

import fractions

from keras import ops

from keras_rmi import _backend


def scaled_length(length, scale):
    """`floor(scale * length)`, at least 1, for a number or a tensor.

    The scale is taken as the fraction that it is meant to be: the nearest
    with a denominator of 1000 at most.
    """
    exact = fractions.Fraction(scale).limit_denominator(1000)
    count = length * exact.numerator // exact.denominator
    return _at_least_one(count)


def _at_least_one(count):
    """The larger of 1 and a number or a tensor."""
    return max(count, 1) if isinstance(count, int) else ops.maximum(count, 1)


def _next_pixel(position, length):
    """Positions + 1, but for the last of `length`, which has no next."""
    # Not the minimum: Keras knows no symbolic size of torch there (3.15).
    return position + ops.cast(position < length - 1, "int32")


def bilinear_samples(x, size):
    """(N,h,w,...) from a map (N,H,W,...) of floats, for `size` (h,w)."""
    for axis, count in zip((1, 2), size):
        x = bilinear_along(x, axis, count)
    return x


def bilinear_along(x, axis, count):
    """`count` samples of a map of floats along an axis."""
    length = ops.shape(x)[axis]
    low, high, fraction = neighbours(length, count)
    shape = [1] * len(x.shape)
    shape[axis] = -1
    fraction = ops.cast(_backend.reshape(fraction, shape), x.dtype)
    low, high = ops.take(x, low, axis=axis), ops.take(x, high, axis=axis)
    return low + fraction * (high - low)


def neighbours(length, count):
    """For each sample the pixels around it and the fraction between them."""
    position, steps = _positions(length, count)
    low = position // steps
    fraction = ops.cast(position % steps, "float32")
    if not isinstance(steps, int):
        steps = ops.cast(steps, "float32")
    return low, _next_pixel(low, length), fraction / steps


def nearest_pixel(length, count):
    """For each sample the pixel that is nearest to it, (count,) int32."""
    position, steps = _positions(length, count)
    return (2 * position + steps) // (2 * steps)


def _positions(length, count):
    """Numerators (count,) and denominator of the samples' positions."""
    steps = _at_least_one(count - 1)
    return ops.arange(count, dtype="int32") * (length - 1), steps
