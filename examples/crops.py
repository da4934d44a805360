"""Training batches: random scale, crop, flip and colour.

A batch depends on the seed and the number of its step alone: every loss sees
the same ones, and a run that was interrupted goes on with the right one.
"""

import keras
import numpy as np
from PIL import Image

SHARE = 0.8  # side of a crop, as a share of the image's side
ZOOM = (0.8, 1.6)  # the smallest shows the whole image in a crop


def crop_size(size):
    """(height, width) of the crops for images of `size`."""
    return tuple(max(16, round(SHARE * side / 16) * 16) for side in size)


class Crops(keras.utils.PyDataset):
    """Augmented batches, `length` to an epoch.

    Args:
        images, labels: (N, H, W, 3) and (N, H, W), uint8. They may be larger
            than what is trained on; detail is then kept as crops grow.
        size: (height, width) of the crops.
        batch_size, seed: Number of images, and what all choices depend on.
        first: Number of the first step.
        length: Number of steps in an epoch.
    """

    def __init__(self, images, labels, size, batch_size, seed, first, length):
        super().__init__()
        self.images, self.labels = images, labels
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.first, self.length = first, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        step = self.first + index
        rng = np.random.default_rng((self.seed, 1, step))
        pairs = [
            _augment(rng, self.images[chosen], self.labels[chosen], self.size)
            for chosen in self._chosen(step)
        ]
        return tuple(np.stack(arrays) for arrays in zip(*pairs))

    def on_epoch_end(self):
        self.first += self.length

    def _chosen(self, step):
        """Images of a step: shuffled passes over all, one after another."""
        count = len(self.images)
        positions = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [
            np.random.default_rng(
                (self.seed, 0, position // count)
            ).permutation(count)[position % count]
            for position in positions
        ]


def _augment(rng, image, labels, size):
    """One crop (H, W, 3) and its ids (H, W)."""
    extent = np.array(labels.shape)
    box = extent * SHARE / rng.uniform(*ZOOM)
    box = np.minimum(box, extent)
    top, left = rng.uniform(0, 1, 2) * (extent - box)
    area = (left, top, left + box[1], top + box[0])
    image = Image.fromarray(image).resize(size[::-1], Image.BILINEAR, area)
    labels = Image.fromarray(labels).resize(size[::-1], Image.NEAREST, area)
    direction = -1 if rng.uniform() < 0.5 else 1
    image = _recolored(rng, image)
    return np.asarray(image)[:, ::direction], np.asarray(labels)[:, ::direction]


def _recolored(rng, image):
    """The image in another light, by a table of what each level becomes."""
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
    contrast = rng.uniform(0.8, 1.2)
    mean = np.asarray(image, "float32").mean((0, 1))
    levels = np.arange(256, dtype="float32")[:, None]
    table = mean * gain + (levels - mean) * gain * contrast
    table = np.uint8(np.clip(np.round(table), 0, 255))
    # Channel by channel.
    return image.point(table.T.ravel().tolist())
