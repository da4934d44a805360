"""The fully connected CRF by mean-field iterations."""

import functools

import numpy as np
from keras import ops

from keras_rmi import _backend, _backend_modes, _backend_sparse
from keras_rmi._types import Compat, Deviations, Normalization
from keras_rmi._validation import message
from keras_rmi.ops.crf_kernels import (
    BilateralKernel,
    GaussianKernel,
    NormalizedFilter,
)
from keras_rmi.ops.crf_options import (
    check_classes,
    check_compat,
    check_options,
)

_INT32 = 2**31


class MeanField:
    """Mean-field iterations for images of one size.

    Makes what does not depend on the image. The arguments are those of
    `keras_rmi.layers.DenseCRF`, checked, with tuples for deviations.
    """

    def __init__(
        self,
        size,
        iterations,
        gaussian_sxy,
        bilateral_sxy,
        bilateral_srgb,
        gaussian_normalization,
        bilateral_normalization,
        epsilon,
    ):
        self._iterations, self._epsilon = iterations, epsilon
        self._normalizations = gaussian_normalization, bilateral_normalization
        self._num_pixels = size[0] * size[1]
        try:
            self._gaussian = GaussianKernel(size, gaussian_sxy)
        except OverflowError as error:
            raise _too_fine(size, error, gaussian_sxy=gaussian_sxy) from None
        try:
            self._bilateral = BilateralKernel(
                size, bilateral_sxy, bilateral_srgb
            )
        except OverflowError as error:
            raise _too_fine(
                size,
                error,
                bilateral_srgb=bilateral_srgb,
                bilateral_sxy=bilateral_sxy,
            ) from None

    def check_batch(self, num_images):
        """Whether all vertices of so many images have a number."""
        limit = _INT32 // (8 * self._num_pixels)
        # Exporters have symbols for a number that is unknown.
        if isinstance(num_images, int) and num_images > limit:
            raise ValueError(
                message(
                    "probabilities",
                    f"at most {limit} images of this size at once",
                    num_images,
                )
            )

    def __call__(self, probabilities, image, compats):
        """Refined probabilities (N,H,W,C), float32."""
        self.check_batch(probabilities.shape[0])
        shape = ops.shape(probabilities)
        image = ops.stop_gradient(ops.cast(image, "float32"))
        image = ops.cast(ops.clip(ops.round(image), 0.0, 255.0), "int32")
        ones = ops.cast(ops.reshape(image[..., :1], (-1, 1)) >= 0, "float32")
        probabilities = ops.cast(probabilities, "float32")
        x = ops.reshape(probabilities, (-1, probabilities.shape[-1]))
        energy = -ops.log(ops.clip(x, self._epsilon, 1.0))
        normalize = functools.partial(NormalizedFilter, ones=ones)
        gaussian = normalize(
            self._gaussian.filter(shape[0]), self._normalizations[0]
        )
        index = self._bilateral.index(image)

        def iterate(repeat, capacity, energy, *compats):
            bilateral = normalize(
                index.filter(capacity), self._normalizations[1]
            )

            def update(_, logits, energy, *compats):
                # Energies are filtered, not maps: so gradients need no map
                # that was filtered, which would be kept or made again.
                q, logits = _backend.softmax(logits), -energy
                for kernel, compat in zip((gaussian, bilateral), compats):
                    logits = logits - kernel(_energy(q, compat))
                return logits

            constants = energy, *compats
            return repeat(self._iterations, update, -energy, constants)

        logits = _backend_sparse.with_capacity(
            index.counts,
            self._bilateral.capacities,
            iterate,
            (energy, *compats),
        )
        return ops.reshape(_backend.softmax(logits), shape)


def _too_fine(size, error, **deviations):
    """The lattice of these deviations has too many vertices for int32."""
    first = next(iter(deviations))
    names = " or ".join(f"`{name}`" for name in deviations)
    return ValueError(
        message(
            first,
            "deviations for which the vertices of a lattice over images of "
            f"size {size} fit into 32 bits, not {error} of them",
            deviations[first],
            f"Increase {names}, or make the images smaller.",
        )
    )


def _energy(x, compat):
    """Energy of a map, by a number, a vector or a matrix."""
    rank = len(compat.shape)
    if rank == 0:
        return -compat * x
    if rank == 1:
        return compat * x
    return _backend.matmul(x, 0.5 * (compat + ops.transpose(compat)))


def dense_crf(
    probabilities,
    image,
    iterations: int = 5,
    *,
    gaussian_sxy: Deviations = 3,
    gaussian_compat: Compat = 3,
    bilateral_sxy: Deviations = 30,
    bilateral_srgb: Deviations = 13,
    bilateral_compat: Compat = 10,
    gaussian_normalization: Normalization = "symmetric",
    bilateral_normalization: Normalization = "symmetric",
    epsilon: float = 1e-5,
):
    """Refines the probabilities of one NumPy image along its edges.

    Use it where `pydensecrf` was used. It runs on the backend of Keras; what
    it does is that of `keras_rmi.layers.DenseCRF`, which is for batches and
    for models.

    Args:
        probabilities: (H,W,C), of an image and C classes, in [0, 1].
        image: (H,W,3), RGB, integers from 0 to 255 of any dtype.
        iterations, gaussian_sxy, gaussian_compat, bilateral_sxy,
            bilateral_srgb, bilateral_compat, gaussian_normalization,
            bilateral_normalization, epsilon: As in
            `keras_rmi.layers.DenseCRF`.

    Output shape:
        (H,W,C), a float32 NumPy array.

    Example:

    >>> import numpy as np, keras_rmi
    >>> image = np.zeros((8, 8, 3), "uint8")
    >>> image[:, 4:] = 200
    >>> p = np.where(image[..., :2] > 0, [0.4, 0.6], [0.6, 0.4])
    >>> p[2, 2] = 0.3, 0.7
    >>> refined = keras_rmi.ops.dense_crf(p, image)
    >>> bool((refined.argmax(-1) == (image[..., 0] > 0)).all())
    True

    References:
        Kraehenbuehl, Koltun, 2011, "Efficient Inference in Fully Connected
        CRFs with Gaussian Edge Potentials", https://arxiv.org/abs/1210.5644
    """
    probabilities, image = np.asarray(probabilities), np.asarray(image)
    if probabilities.ndim != 3:
        raise ValueError(
            message(
                "probabilities",
                "one map (H,W,C)",
                probabilities.shape,
                "For batches there is `keras_rmi.layers.DenseCRF`.",
            )
        )
    size = probabilities.shape[:2]
    if image.shape != (*size, 3):
        raise ValueError(message("image", f"shape {(*size, 3)}", image.shape))
    levels = np.round(np.clip(image, 0, 255))
    if not (levels == image).all():
        raise ValueError(
            message(
                "image",
                "integers from 0 to 255",
                (float(image.min()), float(image.max())),
                "Give the original image, neither scaled nor normalized.",
            )
        )
    names = ("gaussian_compat", "bilateral_compat")
    compats = [
        check_compat(*pair)
        for pair in zip(names, (gaussian_compat, bilateral_compat))
    ]
    for name, compat in zip(names, compats):
        check_classes(name, compat, probabilities.shape[-1])
    program = _program(
        size,
        *check_options(
            iterations,
            gaussian_sxy,
            bilateral_sxy,
            bilateral_srgb,
            gaussian_normalization,
            bilateral_normalization,
            epsilon,
        ),
    )
    q = program(
        ops.convert_to_tensor(probabilities[None], "float32"),
        ops.convert_to_tensor(levels[None], "int32"),
        [ops.convert_to_tensor(compat, "float32") for compat in compats],
    )
    return np.array(ops.convert_to_numpy(q)[0])


@functools.lru_cache(maxsize=8)
def _program(size, *options):
    """Kept: a data set has few sizes, and compilers take seconds."""
    return _backend_modes.compiled(MeanField(size, *options))
