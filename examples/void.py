"""Labels without void for the region statistics, to see what void does there.

A void pixel takes the class that is nearest in its image. The pixel term must
still know it, so the class of such a pixel is kept as 128 more than its id:
for all losses and scores of this package, which take ids beyond the last
class as void, nothing changes.
"""

import keras
import numpy as np
from choices import VOID
from scipy import ndimage

import keras_rmi

FILLED = 128


def fill(labels):
    """Ids (N, H, W) whose void, 255, is the nearest class plus 128."""
    return np.stack([_fill(ids) for ids in labels])


def _fill(ids):
    void = ids == VOID
    if not void.any() or void.all():
        return ids
    nearest = ndimage.distance_transform_edt(
        void, return_distances=False, return_indices=True
    )
    return np.where(void, ids[tuple(nearest)] + FILLED, ids).astype(ids.dtype)


class FilledRMILoss(keras_rmi.RMILoss):
    """The region term of what `fill` gives, as if there were no void."""

    def call(self, y_true, y_pred, sample_weight=None):
        y_true = keras.ops.mod(y_true, FILLED)
        return super().call(y_true, y_pred, sample_weight)
