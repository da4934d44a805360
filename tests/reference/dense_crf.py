"""The fully connected CRF on the permutohedral lattice, by its definition.

Kraehenbuehl and Koltun 2011 with the lattice of Adams et al. 2010, as
`pydensecrf` computes it. Which vertices exist depends on the rounding of the
coordinates, so these are float32, in that order of operations; what is done
with the values is float64, or float32 where `dtype` says so.
"""

import numpy as np

F32 = np.float32


def unary(probabilities, clip=1e-5):
    """-ln p, (H,W,C)."""
    return -np.log(np.clip(probabilities, F32(clip), 1))


def pair(value):
    return tuple(np.ravel(value)) if np.ndim(value) else (value, value)


def gaussian_features(size, sxy):
    """Positions (x, y) over their standard deviations, (H*W,2)."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype("float32")
    x, y = pair(sxy)
    return np.stack([columns / F32(x), rows / F32(y)], -1).reshape(-1, 2)


def bilateral_features(image, sxy, srgb):
    """Positions and colours, (H*W,5)."""
    srgb = np.broadcast_to(np.asarray(srgb, "float32"), 3)
    colors = image.astype("float32") / srgb
    positions = gaussian_features(image.shape[:2], sxy)
    return np.concatenate([positions, colors.reshape(-1, 3)], -1)


class Lattice:
    """Vertices round the points `features` (P,d), their neighbours, weights.

    Points come in fours: zeros fill up the last four.
    """

    def __init__(self, features):
        count, d = features.shape
        padding = np.zeros((-count % 4, d), "float32")
        elevated = self._elevate(np.concatenate([features, padding]))
        keys, weights = self._simplex(elevated)
        self.keys, ids = np.unique(
            keys.reshape(-1, d), axis=0, return_inverse=True
        )
        self.ids = ids.reshape(-1, d + 1)[:count]
        self.weights = weights[:count]
        number = {tuple(key): i for i, key in enumerate(self.keys)}
        self.neighbours = []
        for j in range(d + 1):
            step = np.ones(d, int)
            step[j : j + 1] = -d
            self.neighbours.append(
                [
                    np.array(
                        [
                            number.get(tuple(k), -1)
                            for k in self.keys + sign * step
                        ]
                    )
                    for sign in (-1, 1)
                ]
            )

    @staticmethod
    def _elevate(features):
        """Coordinates on the hyperplane of sum 0, (P,d+1) float32."""
        d = features.shape[1]
        spread = F32(np.sqrt(2 / 3) * (d + 1))
        total = np.zeros(len(features), "float32")
        coordinates = np.empty((len(features), d + 1), "float32")
        for j in range(d, 0, -1):
            scale = F32(1 / np.sqrt(j * (j + 1)) * np.float64(spread))
            scaled = features[:, j - 1] * scale
            coordinates[:, j] = total - F32(j) * scaled
            total = total + scaled
        coordinates[:, 0] = total
        return coordinates

    @staticmethod
    def _simplex(elevated):
        """Keys (P,d+1,d) of the vertices, and barycentric weights (P,d+1)."""
        side = elevated.shape[1]
        d = side - 1
        nearest = np.rint(elevated * F32(1 / side)) * F32(side)
        away = elevated - nearest
        rank = np.zeros(elevated.shape, int)
        for j in range(side):
            for k in range(side):
                ahead = away[:, k] > away[:, j]
                if k < j:
                    ahead = ahead | (away[:, k] == away[:, j])
                rank[:, j] += ahead
        rank += np.rint(nearest.sum(1, keepdims=True) / side).astype(int)
        for turn, where in ((side, rank < 0), (-side, rank > d)):
            rank[where] += turn
            nearest[where] += turn
        ordered = np.empty(elevated.shape, "float32")
        np.put_along_axis(
            ordered, rank, (elevated - nearest) * F32(1 / side), axis=1
        )
        weights = np.empty(elevated.shape, "float32")
        weights[:, 0] = ordered[:, d] + (F32(1) - ordered[:, 0])
        for m in range(1, side):
            weights[:, m] = ordered[:, d - m] - ordered[:, d - m + 1]
        m = np.arange(side)[:, None]
        steps = np.where(rank[:, None, :d] <= d - m, m, m - side)
        return nearest[:, None, :d].astype(int) + steps, weights

    def filter(self, x, reverse=False):
        """Splat, blur and slice of x (P,C); its transpose if `reverse`."""
        d = self.weights.shape[1] - 1
        values = np.zeros((len(self.keys) + 1, x.shape[1]), x.dtype)
        weights = self.weights.astype(x.dtype)
        for m in range(d + 1):
            np.add.at(values, self.ids[:, m], weights[:, m : m + 1] * x)
        axes = reversed(self.neighbours) if reverse else self.neighbours
        for before, after in axes:
            # The last row is zero: of vertices that do not exist.
            around = values[before] + values[after]
            values[:-1] += x.dtype.type(0.5) * around
        alpha = x.dtype.type(1 / (1 + 2.0**-d))
        return alpha * sum(
            weights[:, m : m + 1] * values[self.ids[:, m]] for m in range(d + 1)
        )


class Kernel:
    """A lattice with its normalisation: what a message is made of."""

    def __init__(self, features, normalization="symmetric", dtype="float64"):
        self.lattice = Lattice(features)
        ones = np.ones((len(features), 1), dtype)
        self.norm = self.lattice.filter(ones) + ones.dtype.type(1e-20)
        self.normalization = normalization

    def __call__(self, x):
        """The filtered x (P,C)."""
        if self.normalization == "symmetric":
            root = np.sqrt(self.norm)
            return self.lattice.filter(x / root) / root
        if self.normalization == "before":
            return self.lattice.filter(x / self.norm)
        if self.normalization == "after":
            return self.lattice.filter(x) / self.norm
        return self.lattice.filter(x)


def compatible(message, compat):
    """The energy of a message, by a number, a vector or a matrix."""
    compat = np.asarray(compat, message.dtype)
    if compat.ndim == 0:
        return -compat * message
    if compat.ndim == 1:
        return compat * message
    return message @ ((compat + compat.T) / 2)


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def dense_crf(
    probabilities,
    image,
    iterations=5,
    gaussian_sxy=3,
    gaussian_compat=3,
    bilateral_sxy=30,
    bilateral_srgb=13,
    bilateral_compat=10,
    gaussian_normalization="symmetric",
    bilateral_normalization="symmetric",
    dtype="float64",
):
    """Refined probabilities (H,W,C) of one image."""
    kernels = kernels_of(
        image,
        gaussian_sxy,
        bilateral_sxy,
        bilateral_srgb,
        gaussian_normalization,
        bilateral_normalization,
        dtype,
    )
    compats = (gaussian_compat, bilateral_compat)
    return mean_field(probabilities, kernels, compats, iterations, dtype)


def kernels_of(
    image,
    gaussian_sxy=3,
    bilateral_sxy=30,
    bilateral_srgb=13,
    gaussian_normalization="symmetric",
    bilateral_normalization="symmetric",
    dtype="float64",
):
    """Both kernels of an image."""
    gaussian = gaussian_features(image.shape[:2], gaussian_sxy)
    bilateral = bilateral_features(image, bilateral_sxy, bilateral_srgb)
    return (
        Kernel(gaussian, gaussian_normalization, dtype),
        Kernel(bilateral, bilateral_normalization, dtype),
    )


def mean_field(probabilities, kernels, compats, iterations, dtype="float64"):
    """Mean-field iterations with given kernels, (H,W,C)."""
    shape = probabilities.shape
    energy = unary(np.asarray(probabilities, dtype)).reshape(-1, shape[-1])
    q = softmax(-energy)
    for _ in range(iterations):
        total = -energy
        for kernel, compat in zip(kernels, compats):
            total = total - compatible(kernel(q), compat)
        q = softmax(total)
    return q.reshape(shape)
