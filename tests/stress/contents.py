"""Labels and predictions of all kinds, drawn one by one.

Everything is drawn from a `random.Random`, which a command seeds and which
hypothesis can stand in for.
"""

import numpy as np

VOID = 255
# Logits of one problem: what is drawn is many, not large.
VOLUME = 24_000
LARGEST = {"float32": 1e30, "bfloat16": 1e30, "float16": 6e4}


def generator(random):
    """Numbers of numpy for large arrays, from one drawn number."""
    return np.random.default_rng(random.getrandbits(32))


def draw_ids(random, size, num_classes):
    """Class ids (N,H,W) without void."""
    rng = generator(random)
    kind = random.choice(
        ("blocks", "noise", "shapes", "one class", "pixel", "absent")
    )
    if kind == "shapes":
        return np.stack(
            [_shapes(rng, size[1:], num_classes) for _ in range(size[0])]
        )
    if kind == "one class":
        return np.full(size, rng.integers(num_classes))
    if kind == "pixel":
        ids = np.zeros(size, int)
        row, column = (rng.integers(length) for length in size[1:])
        ids[:, row, column] = num_classes - 1
        return ids
    cell = 1 if kind == "noise" else random.randint(2, 6)
    present = max(1, num_classes - (kind == "absent"))
    count, height, width = size
    grid = (count, -(-height // cell), -(-width // cell))
    ids = rng.integers(0, present, grid)
    return ids.repeat(cell, axis=1).repeat(cell, axis=2)[:, :height, :width]


def _shapes(rng, size, num_classes):
    """Class ids (H,W): half planes and discs, one over the other.

    Half of the straight edges are level, upright or diagonal: few patterns
    fill such maps.
    """
    rows, columns = np.indices(size)
    ids = np.zeros(size, int)
    for _ in range(rng.integers(1, 4)):
        down = rows - rng.uniform(0, size[0])
        right = columns - rng.uniform(0, size[1])
        angle = rng.choice((rng.integers(8) / 4, rng.uniform(0, 2))) * np.pi
        half = np.sin(angle) * down + np.cos(angle) * right > 0
        disc = np.hypot(down, right) < rng.uniform(1, max(size))
        ids[rng.choice((half, disc))] = rng.integers(num_classes)
    return ids


def draw_void(random, size):
    """Where labels are void (N,H,W): nowhere to everywhere, per image."""
    rng = generator(random)
    void = np.zeros(size, bool)
    for image in void:
        kind = random.choice(("none", "none", "band", "noise", "most", "all"))
        if kind == "band":
            rows, columns = (
                slice(*sorted(rng.integers(0, length + 1, 2)))
                for length in image.shape
            )
            image[rows, columns] = True
        elif kind == "noise":
            image[:] = rng.random(image.shape) < 0.2
        elif kind == "most":
            image[:] = True
            image[tuple(rng.integers(length) for length in image.shape)] = False
        elif kind == "all":
            image[:] = True
    return void


def draw_dense(random, ids, num_classes):
    """Dense labels (N,H,W,C): one-hot, soft or of several classes."""
    rng = generator(random)
    kind = random.choice(("one-hot", "soft", "several"))
    if kind == "soft":
        # Never all zero, which would be void.
        return rng.dirichlet(np.ones(num_classes), ids.shape)
    labels = np.eye(num_classes)[ids]
    if kind == "several":
        labels = np.maximum(labels, rng.random(labels.shape) < 0.2)
    return labels


ORDINARY = ("noisy", "sure", "clean", "barely initialised", "ramp")
EXTREME = ("constant", "exact", "inverted", "tiny", "huge", "all magnitudes")


def draw_logits(random, targets, dtype, largest):
    """Kind and logits (N,H,W,C) for targets of the same shape."""
    rng = generator(random)
    kind = random.choice((*ORDINARY, *EXTREME))
    shape = targets.shape
    signs = 2 * targets - 1
    noise = rng.standard_normal(shape)
    if kind == "constant":
        level = random.choice((0.0, 1.0, -3.0, 30.0, -largest, largest))
        step = random.choice((0.0, 0.1))
        x = level + step * np.arange(shape[-1]) + np.zeros(shape)
    elif kind == "clean":
        # As certain everywhere, and off by a pixel or not.
        offset = random.choice((0, 1))
        x = random.choice((0.5, 2.0, 6.0)) * np.roll(signs, offset, axis=1)
    elif kind == "ramp":
        x = np.linspace(-3, 3, shape[1])[:, None, None] * np.ones(shape)
        x = x + 0.1 * noise
    else:
        scale = random.choice((20.0, 100.0, largest))
        every = 10.0 ** rng.uniform(-30, np.log10(largest), shape)
        x = {
            "noisy": lambda: 2 * signs + noise,
            "sure": lambda: 12 * signs + noise,
            "barely initialised": lambda: 0.01 * noise,
            "exact": lambda: scale * signs,
            "inverted": lambda: -scale * signs,
            "tiny": lambda: 1e-30 * noise,
            "huge": lambda: np.clip(largest * noise, -largest, largest),
            "all magnitudes": lambda: every * rng.choice((-1, 1), shape),
        }[kind]()
    return kind, rounded(np.clip(x, -largest, largest), dtype)


def draw_probabilities(random, targets, dtype, exclusive):
    """Kind and probabilities (N,H,W,C); they sum to one if `exclusive`."""
    rng = generator(random)
    kind = random.choice(
        ("noisy", "sure", "constant", "exact", "inverted", "tiny")
    )
    if kind == "exact":
        p = targets.astype("float64")
    elif kind == "inverted":
        p = 1.0 - targets
    elif kind == "constant":
        p = np.full(targets.shape, random.choice((0.0, 0.5, 1.0)))
    elif kind == "tiny":
        # The gradient 1 / p must be one that the dtype can hold.
        smallest = -2 if dtype == "float16" else -30
        p = 10.0 ** rng.uniform(smallest, -1, targets.shape)
    else:
        scale = 2 if kind == "noisy" or dtype == "float16" else 12
        noise = rng.standard_normal(targets.shape)
        p = 1 / (1 + np.exp(-scale * (2 * targets - 1) - noise))
    if exclusive:
        total = p.sum(axis=-1, keepdims=True)
        p = np.where(total > 0, p / np.where(total > 0, total, 1.0), 1.0)
        p = p / p.sum(axis=-1, keepdims=True)
    return kind, rounded(p, dtype)


def draw_image(random, size):
    """Images (N,H,W,3), integers 0 to 255: noise, flat parts or one colour."""
    rng = generator(random)
    kind = random.choice(("noise", "flat", "black", "dark"))
    image = rng.integers(0, 12 if kind == "dark" else 256, (*size, 3))
    if kind == "flat":
        image = image // 86 * 100
    return (image * (kind != "black")).astype("int32")


def draw_weights(random, shape):
    """Weights with zeros, of images or of pixels."""
    rng = generator(random)
    weights = rng.uniform(0.1, 3.0, shape)
    weights[rng.random(shape) < random.choice((0.0, 0.2, 0.9))] = 0.0
    return weights.astype("float32")


def rounded(x, dtype):
    """Numbers of float32 that `dtype` holds exactly."""
    x = x.astype("float32")
    if dtype == "float16":
        return x.astype("float16").astype("float32")
    if dtype == "bfloat16":
        # The upper half of the bits of a float32.
        return (x.view("uint32") & 0xFFFF0000).view("float32")
    return x
