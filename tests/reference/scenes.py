"""Generated label maps and the logits that break float32 statistics."""

import numpy as np


def scene(name, height, width, num_classes=3, seed=0):
    """Labels (1, H, W) int and logits (1, H, W, C) float32 of one case.

    One class means a mask: the last of two classes.
    """
    if num_classes == 1:
        labels, logits = scene(name, height, width, 2, seed)
        return labels, logits[..., 1:]
    rng = np.random.default_rng([seed, height, width])
    field = smooth_field(rng, height, width, num_classes)
    labels = field.argmax(axis=-1)
    if name.startswith("absent"):
        labels = field[..., :-1].argmax(axis=-1)
    elif name == "four pixels":
        labels = field[..., :-1].argmax(axis=-1)
        (row, column) = (height // 2, width // 2)
        labels[row : row + 2, column : column + 2] = num_classes - 1
    logits = LOGITS[name](rng, np.eye(num_classes)[labels])
    return labels[None].astype("int32"), logits[None].astype("float32")


def stacked_scenes(names, height, width, num_classes=3):
    """One image per name: labels (N, H, W) and logits (N, H, W, C)."""
    pairs = [scene(name, height, width, num_classes) for name in names]
    labels, logits = zip(*pairs, strict=True)
    return np.concatenate(labels), np.concatenate(logits)


def smooth_field(rng, height, width, channels, cell=8):
    """Noise on a coarse grid, enlarged to (height, width, channels)."""
    grid = (height // cell + 2, width // cell + 2, channels)
    return enlarge(rng.standard_normal(grid), height, width)


def enlarge(grid, height, width):
    """Bilinear up-sampling with aligned corners."""
    return np.einsum(
        "ih,jw,hwc->ijc",
        interpolation_matrix(height, grid.shape[0]),
        interpolation_matrix(width, grid.shape[1]),
        grid,
        optimize=True,
    )


def interpolation_matrix(out, size):
    positions = np.linspace(0, size - 1, out)
    columns = [
        np.interp(positions, np.arange(size), row) for row in np.eye(size)
    ]
    return np.stack(columns, axis=1)


def noisy(rng, targets):
    return 4 * targets - 2 + rng.standard_normal(targets.shape)


def upsampled(rng, targets):
    (height, width) = targets.shape[:2]
    coarse = noisy(rng, targets[::8, ::8])
    return enlarge(coarse, height, width)


def perfect(logit):
    return lambda rng, targets: logit * (2 * targets - 1)


def half_wrong(logit):
    def logits(rng, targets):
        swapped = np.roll(targets, targets.shape[1] // 7, axis=1)
        return logit * (2 * swapped - 1)

    return logits


def constant(rng, targets):
    return np.ones_like(targets) * np.linspace(-1, 0.7, targets.shape[-1])


def ramp(rng, targets):
    (height, width, classes) = targets.shape
    down, right = np.ogrid[-1 : 1 : height * 1j, -2 : 2 : width * 1j]
    signs = np.where(np.arange(classes) % 2, -1.0, 1.0)
    return (down + right)[..., None] * signs


def barely_initialised(rng, targets):
    return 0.01 * rng.standard_normal(targets.shape)


LOGITS = {
    "noisy": noisy,
    "upsampled x8": upsampled,
    "perfect 20": perfect(20.0),
    "perfect 100": perfect(100.0),
    "half wrong 20": half_wrong(20.0),
    "half wrong 100": half_wrong(100.0),
    "constant": constant,
    "ramp": ramp,
    "barely initialised": barely_initialised,
    "absent noisy": noisy,
    "absent upsampled x8": upsampled,
    "four pixels": noisy,
}
