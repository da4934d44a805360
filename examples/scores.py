"""What a segmentation is worth: confusion, IoU, and both at boundaries."""

import numpy as np
from PIL import Image, ImageFilter

BANDS = (3, 5)
LARGEST = 3
SHIFTS = range(-LARGEST, LARGEST + 1)
DIRECTIONS = {"down": 1, "right": 2}  # and the axis of each


def confusion(labels, predictions, num_classes, where=True):
    """Counts (C, C), truth by prediction, of pixels that are not void."""
    counted = (labels < num_classes) & where
    pairs = labels[counted].astype("int64") * num_classes + predictions[counted]
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def class_iou(confusion):
    """Intersection over union; NaN for a class that nowhere occurs."""
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), np.nan)


def mean_iou(confusion):
    return float(np.nanmean(class_iou(confusion)))


def boundary_band(labels, num_classes, width):
    """Pixels of one map (H, W) that have another class within `width`.

    The distance is that of a king on a chess board. Void is no other class:
    its edge is not a boundary between things.
    """
    void = labels >= num_classes
    size = 2 * width + 1
    largest = _filter(np.where(void, 0, labels), ImageFilter.MaxFilter(size))
    smallest = _filter(np.where(void, 255, labels), ImageFilter.MinFilter(size))
    return ~void & ((largest != labels) | (smallest != labels))


def score(labels, predictions, num_classes):
    """Confusions of all pixels, and of those in each band."""
    result = {"all": confusion(labels, predictions, num_classes)}
    for width in BANDS:
        bands = np.stack(
            [boundary_band(ids, num_classes, width) for ids in labels]
        )
        result[f"band {width}"] = confusion(
            labels, predictions, num_classes, bands
        )
    return result


def moved(labels, ids, num_classes):
    """The mIoU near boundaries of moved predictions, by direction and shift.

    The label of a pixel meets the prediction that lies so far below it, or to
    the right of it.
    """
    bands = np.stack([boundary_band(m, num_classes, BANDS[0]) for m in labels])
    return {
        name: [
            mean_iou(
                confusion(
                    _inside(labels, axis),
                    _inside(ids, axis, shift),
                    num_classes,
                    _inside(bands, axis),
                )
            )
            for shift in SHIFTS
        ]
        for name, axis in DIRECTIONS.items()
    }


def _inside(maps, axis, shift=0):
    """What is `shift` further, where all shifts are on the map."""
    first, stop = LARGEST + shift, maps.shape[axis] - LARGEST + shift
    return np.moveaxis(maps, axis, 0)[first:stop]


def as_numbers(confusions):
    """What `score` gives, as it is written: counts, and mIoU of each."""
    return {
        "mean_iou": {key: mean_iou(c) for key, c in confusions.items()},
        "confusion": {key: c.tolist() for key, c in confusions.items()},
    }


def _filter(labels, kind):
    image = Image.fromarray(labels.astype("uint8"))
    return np.asarray(image.filter(kind))
