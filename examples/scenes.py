"""Labelled scenes made of scikit-learn's handwritten digits."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from sklearn.datasets import load_digits

CLASS_NAMES = ("background", *(f"digit {digit}" for digit in range(10)))
COLORS = (
    *((22, 24, 32), (230, 75, 75), (245, 150, 50), (250, 215, 75)),
    *((150, 205, 65), (50, 165, 90), (65, 205, 205), (70, 130, 225)),
    *((145, 100, 225), (240, 125, 200), (185, 140, 100)),
)
VOID = 255
TRAIN_SCANS = 1440  # of 1797; the scans are ordered by writer


def make_scenes(count, size, split, seed=0):
    """Composes `count` scenes from the scans of one split.

    Args:
        count: number of scenes.
        size: (height, width) in pixels, both at least 48.
        split: "train" or "val". No scan is in both, and hardly a writer.
        seed: the same seed gives the same scenes.

    Returns:
        Images (count, height, width, 3) and class ids (count, height, width),
        both uint8: 0 is background, 1 to 10 are the digits 0 to 9, and 255 is
        void, a band round each digit where the truth is uncertain.
    """
    digits = load_digits()
    part = slice(TRAIN_SCANS) if split == "train" else slice(TRAIN_SCANS, None)
    scans = np.uint8(digits.images[part] * 255 / 16)
    scans = np.pad(scans, ((0, 0), (1, 1), (1, 1)))
    targets = digits.target[part]
    first = 0 if split == "train" else 1
    generators = [
        np.random.default_rng((seed, first, index)) for index in range(count)
    ]
    pairs = [_scene(rng, size, scans, targets) for rng in generators]
    return tuple(np.stack(arrays) for arrays in zip(*pairs, strict=True))


def _scene(rng, size, scans, targets):
    """One image (H, W, 3) and its class ids (H, W)."""
    height, width = size
    image = _background(rng, size)
    labels = np.zeros(size, "uint8")
    area = height * width / 96**2
    for _ in range(round(area * rng.integers(2, 6))):
        _blend(image, _stroke(rng, size), _ink(rng))
    for _ in range(round(area * rng.integers(0, 3))):
        scan = scans[rng.integers(len(scans))]
        cover = _place(rng, _fragment(rng, scan), size, 18, 40)
        _blend(image, cover, _ink(rng))
    for _ in range(max(1, round(area * rng.integers(10, 15)))):
        chosen = rng.integers(len(scans))
        cover = _place(rng, scans[chosen], size, 22, 40)
        if np.any(labels[cover > 0.5]):
            continue  # it would cover another digit
        _blend(image, cover, _ink(rng))
        labels[_near(cover > 0.5)] = VOID
        labels[cover > 0.5] = targets[chosen] + 1
    image += rng.normal(0, rng.uniform(2, 10), image.shape)
    return np.uint8(np.clip(image, 0, 255)), labels


def _background(rng, size):
    """A colour gradient with soft blotches."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    angle = rng.uniform(0, 2 * np.pi)
    slope = rows / size[0] * np.sin(angle) + columns / size[1] * np.cos(angle)
    start, end = rng.uniform(0, 90, (2, 3))
    blotches = rng.integers(0, 256, (5, 5)).astype("uint8")
    blotches = Image.fromarray(blotches).resize(size[::-1], Image.BICUBIC)
    image = start + (end - start) * slope[..., None]
    return image + (np.asarray(blotches, float)[..., None] - 128) * 0.25


def _ink(rng):
    """A colour that the background may almost have."""
    return rng.uniform(170, 255, 3), rng.uniform(0.8, 1.0)


def _blend(image, cover, ink):
    """Paints `ink` where `cover` (H, W), in [0, 1], is above 0."""
    color, opacity = ink
    alpha = opacity * cover[..., None]
    image *= 1 - alpha
    image += alpha * color


def _stroke(rng, size):
    """Coverage (H, W) of one arc, as wide as a digit's stroke."""
    canvas = Image.new("L", size[::-1])
    x, y = rng.uniform(-0.1, 1, 2) * size[::-1]
    box_width, box_height = rng.uniform(8, 60, 2)
    box = (x, y, x + box_width, y + box_height)
    start = rng.uniform(0, 360)
    end = start + rng.uniform(30, 200)
    ImageDraw.Draw(canvas).arc(box, start, end, 255, int(rng.integers(2, 6)))
    canvas = canvas.filter(ImageFilter.GaussianBlur(0.8))
    return np.asarray(canvas, float) / 255


def _fragment(rng, scan):
    """Half a digit: ink of the right texture that is no digit."""
    cut = scan.copy()
    half = [slice(0, 5), slice(5, 10)][rng.integers(2)]
    cut[(half, slice(None))[:: rng.choice((-1, 1))]] = 0
    return cut


def _place(rng, scan, size, smallest, largest):
    """Coverage (H, W) of a scan, scaled and turned, at a random position."""
    side = int(rng.integers(smallest, largest + 1))
    patch = Image.fromarray(scan).resize((side, side), Image.BICUBIC)
    patch = patch.rotate(rng.uniform(-12, 12), Image.BICUBIC)
    canvas = Image.new("L", size[::-1])
    top, left = (int(rng.integers(extent - side + 1)) for extent in size)
    canvas.paste(patch, (left, top))
    return np.asarray(canvas, float) / 255


def _near(mask):
    """The pixels of `mask` and their neighbours."""
    grown = Image.fromarray(np.uint8(mask)).filter(ImageFilter.MaxFilter(3))
    return np.asarray(grown) > 0
