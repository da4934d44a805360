"""Sample weights: of images or of pixels, never guessed from sizes."""

import numpy as np
from keras import ops

from keras_rmi import _backend
from keras_rmi._validation import compatible, message, static_shape
from keras_rmi.ops.inputs import one_or_nan, read_tensor


def read_sample_weight(sample_weight, batch_size):
    """Splits weights into (weights of images, weights of pixels).

    The rank decides: a number, (N,) and (N,1) weigh images, (N,H,W) and
    (N,H,W,1) weigh pixels, whose shape is checked where the predictions are
    known. What is absent is None. A negative weight is an error where the
    values can be seen, and NaN, thus a loss of NaN, where they cannot.
    """
    if sample_weight is None:
        return None, None
    if isinstance(sample_weight, (int, float, list, tuple, np.ndarray)):
        sample_weight = np.asarray(sample_weight)
        if np.any(sample_weight < 0):
            smallest = float(np.min(sample_weight))
            raise ValueError(message("sample_weight", "weights >= 0", smallest))
    weight = ops.cast(read_tensor("sample_weight", sample_weight), "float32")
    weight = ops.stop_gradient(weight)
    weight = weight * one_or_nan(weight >= 0)
    shape = static_shape("sample_weight", weight)
    rank = len(shape)
    if rank in (3, 4):
        return None, weight
    if rank == 0 or (rank == 1 and compatible(shape, (batch_size,))):
        return weight, None
    if rank == 2 and compatible(shape, (batch_size, 1)):
        return ops.squeeze(weight, axis=-1), None
    raise ValueError(
        message(
            "sample_weight.shape",
            f"one weight per image, {(batch_size,)} or {(batch_size, 1)}, or "
            "one per pixel, (N, H, W) or (N, H, W, 1)",
            shape,
        )
    )


def not_zero(x):
    """`x` (float32) to divide by where it may be the sum of no weights."""
    return _backend.where(x != 0.0, x, 1.0)


def weighted(values, weight):
    """Values times weights, 0 where the weight is: such values may be NaN."""
    return _backend.where(weight != 0.0, weight * values, 0.0)
