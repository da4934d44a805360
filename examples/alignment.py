"""Interpolated down-sampling whose labels lie where the predictions do.

`pooling="interpolate"`, as published, takes of the labels pixel
floor(i H / h) and of the predictions the place i (H - 1) / (h - 1), which is
at the bottom about one pixel less than the factor further down, and likewise
to the right. So the region term asks for predictions that are moved. Here the
labels are those of the pixel nearest to where the predictions are taken.
"""

import keras
import numpy as np

import keras_rmi


def moved(length, factor):
    """For each pixel along an axis the one whose label it takes.

    Those that the down-sampling reads take that of the nearest pixel to the
    sample of the predictions; all others keep theirs.
    """
    count = length // factor
    sample = np.arange(count)
    position = sample * (length - 1) / max(count - 1, 1)
    source = np.arange(length)
    source[sample * length // count] = np.floor(position + 0.5)
    return source


class AlignedRMILoss(keras_rmi.RMILoss):
    """With `pooling="interpolate"` and moved labels; void moves with them.

    The labels are class ids, or dense with channels last, of a known size.
    """

    def __init__(self, **options):
        super().__init__(pooling="interpolate", **options)

    def call(self, y_true, y_pred, sample_weight=None):
        factors = np.broadcast_to(self.pool_size, 2)
        for axis, factor in zip((1, 2), factors):
            index = moved(y_true.shape[axis], int(factor))
            y_true = keras.ops.take(y_true, index, axis=axis)
        return super().call(y_true, y_pred, sample_weight)
