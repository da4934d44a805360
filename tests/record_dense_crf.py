"""Records what pydensecrf makes of generated images, on x86-64.

    pip install pydensecrf2
    python tests/record_dense_crf.py

The tests need neither: they read `recorded/dense_crf`.
"""

import math
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "recorded" / "dense_crf"
ITERATIONS = (1, 5, 10)


def blobs(rng, height, width):
    """Coloured disks on a gradient, with noise."""
    rows, columns = np.mgrid[:height, :width]
    image = np.empty((height, width, 3))
    image[:] = (rows * 2 + columns)[..., None] + rng.uniform(0, 80, 3)
    for _ in range(6):
        row, column = rng.uniform(0, 1, 2) * (height, width)
        radius = rng.uniform(4, 12)
        inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        image[inside] = rng.uniform(0, 255, 3)
    image += rng.normal(0, 5, image.shape)
    return np.uint8(np.clip(image, 0, 255))


def flat(rng, height, width):
    """Rectangles of four colours, black among them: many ties."""
    colors = np.array([[0, 0, 0], [255, 255, 255], [200, 0, 0], [0, 130, 65]])
    shape = (-(-height // 9), -(-width // 7))
    chosen = rng.integers(0, 4, shape).repeat(9, axis=0).repeat(7, axis=1)
    return np.uint8(colors[chosen[:height, :width]])


def noise(rng, height, width):
    """Every pixel with vertices of its own."""
    return rng.integers(0, 256, (height, width, 3), "uint8")


def black(rng, height, width):
    return np.zeros((height, width, 3), "uint8")


def probabilities(rng, image, num_classes):
    """Softmax of noise, and of what the colours suggest."""
    image = image / 255 - 0.5
    logits = 2 * image @ rng.normal(0, 1, (3, num_classes))
    logits += rng.normal(0, 1.5, logits.shape)
    p = np.exp(logits)
    p = p / p.sum(axis=-1, keepdims=True)
    # Few digits take little room on disk.
    return np.round(p * 1024).astype("float32") / 1024


def matrix(num_classes):
    rng = np.random.default_rng(7)
    return (rng.uniform(-2, 1, (num_classes, num_classes))).astype("float32")


# Size, classes, image, options of the layer.
CASES = {
    "blobs": ((36, 44), 4, blobs, {}),
    "blobs_deeplab": (
        (30, 41),
        3,
        blobs,
        {"bilateral_sxy": 67, "bilateral_srgb": 3, "bilateral_compat": 4},
    ),
    "blobs_anisotropic": (
        (31, 37),
        5,
        blobs,
        {
            "gaussian_sxy": (2, 5),
            "bilateral_sxy": (40, 20),
            "bilateral_srgb": (13, 5, 7),
            "gaussian_compat": [-1.0, -2.0, -3.0, 0.5, -1.5],
            "bilateral_compat": matrix(5).tolist(),
        },
    ),
    "blobs_before_after": (
        (29, 33),
        3,
        blobs,
        {
            "gaussian_normalization": "before",
            "bilateral_normalization": "after",
        },
    ),
    "blobs_unnormalized": (
        (28, 30),
        3,
        blobs,
        {
            "gaussian_normalization": None,
            "bilateral_normalization": None,
            "gaussian_compat": 0.2,
            "bilateral_compat": 0.01,
        },
    ),
    "flat_ties": (
        (37, 43),
        4,
        flat,
        {"gaussian_sxy": 1, "bilateral_sxy": 60, "bilateral_srgb": 20},
    ),
    "hard_noise": ((35, 33), 3, noise, {}),
    "hard_black": ((33, 27), 2, black, {"gaussian_sxy": 2}),
}


def run(probabilities, image, iterations, options):
    """Q (H,W,C) of pydensecrf."""
    import pydensecrf.densecrf as peer
    from pydensecrf.utils import unary_from_softmax

    rules = {
        "symmetric": peer.NORMALIZE_SYMMETRIC,
        "before": peer.NORMALIZE_BEFORE,
        "after": peer.NORMALIZE_AFTER,
        None: peer.NO_NORMALIZATION,
    }

    def option(name, default):
        value = options.get(name, default)
        if isinstance(value, list):
            return np.array(value, "float32")
        return rules[value] if name.endswith("normalization") else value

    height, width, num_classes = probabilities.shape
    crf = peer.DenseCRF2D(width, height, num_classes)
    planes = np.ascontiguousarray(np.moveaxis(probabilities, -1, 0))
    crf.setUnaryEnergy(unary_from_softmax(planes))
    crf.addPairwiseGaussian(
        sxy=option("gaussian_sxy", 3),
        compat=option("gaussian_compat", 3),
        normalization=option("gaussian_normalization", "symmetric"),
    )
    crf.addPairwiseBilateral(
        sxy=option("bilateral_sxy", 30),
        srgb=option("bilateral_srgb", 13),
        rgbim=np.array(image),
        compat=option("bilateral_compat", 10),
        normalization=option("bilateral_normalization", "symmetric"),
    )
    q = np.array(crf.inference(iterations))
    return np.moveaxis(q.reshape(num_classes, height, width), 0, -1)


def main():
    FOLDER.mkdir(exist_ok=True)
    for seed, (name, case) in enumerate(CASES.items()):
        (height, width), num_classes, make, options = case
        rng = np.random.default_rng(seed)
        image = make(rng, height, width)
        p = probabilities(rng, image, num_classes)
        results = {
            f"q_{count}": run(p, image, count, options) for count in ITERATIONS
        }
        path = FOLDER / f"{name}.npz"
        np.savez_compressed(path, image=image, probabilities=p, **results)
        moved = results["q_10"].argmax(-1) != p.argmax(-1)
        print(f"{path.name}: {math.prod(p.shape)} numbers, {moved.mean():.0%}")


if __name__ == "__main__":
    main()
