"""The fully connected CRF as a layer."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_rmi import _backend_modes
from keras_rmi._types import Compat, Deviations, Normalization
from keras_rmi._validation import check_flag, compatible, message
from keras_rmi.ops.crf_options import (
    check_classes,
    check_compat,
    check_options,
)
from keras_rmi.ops.dense_crf import MeanField


@keras.saving.register_keras_serializable(package="keras_rmi")
class DenseCRF(keras.layers.Layer):
    """Refines probabilities along the edges of the image.

    Use it after a trained network, where its maps are coarser than what is
    seen in the image, or train through it. Every pixel `i` is tied to every
    other pixel `j` of the image, the more the nearer they are and the more
    their colours are alike. From `Q^0 = softmax(-U)`, `U_i = -ln p_i`, it
    repeats

        Q_i = softmax(-U_i + sum_m w_m sum_j k_m(i, j) Q_j)
        k_1(i, j) = exp(-|x_i - x_j|^2 / (2 sxy^2))
        k_2(i, j) = exp(-|x_i - x_j|^2 / (2 sxy^2) - |I_i - I_j|^2 / (2 srgb^2))

    with `p` the probabilities, `x` positions in pixels, `I` colours in grey
    levels, `k_1` the Gaussian and `k_2` the bilateral kernel, both normalised,
    and `w_m` their `compat`. Sums over all pixels are those of the
    permutohedral lattice; results agree with `pydensecrf`.

    The image is the original one, 0 to 255: neither divided by 255, nor
    normalised for the network. It has no gradient.

    Args:
        iterations: How often the probabilities are updated, an integer >= 0.
            Defaults to `5`.
        gaussian_sxy: Standard deviation of the Gaussian kernel in pixels, a
            number > 0 or a pair (x, y): along the width first. Defaults to
            `3`.
        gaussian_compat: Its weight `w`; or one number `v` for each class,
            which stands for `-w` (so 3 is the same as -3 for every class); or
            a matrix `M`, C x C, for `-(M + M') / 2`. Defaults to `3`.
        bilateral_sxy: Likewise for the positions of the bilateral kernel.
            Defaults to `30`.
        bilateral_srgb: Standard deviation of its colours in grey levels, a
            number > 0 or three. Defaults to `13`.
        bilateral_compat: Weight of the bilateral kernel. Defaults to `10`.
        gaussian_normalization,
            bilateral_normalization: Where the sum of the kernel over all
            pixels divides: its root before and after filtering
            (`"symmetric"`), `"before"`, `"after"` or nowhere (`None`). Both
            default to `"symmetric"`.
        epsilon: Smaller probabilities are raised to it, a number in [0, 1).
            Defaults to `1e-5`.
        trainable_compat: Whether both `compat` are trained, from these values
            on. Defaults to `False`.
        **kwargs: As in `keras.layers.Layer`.

    Input shape:
        A list: probabilities (N,H,W,C), and the image (N,H,W,3), RGB, of any
        dtype, rounded to integers in 0..255. H and W must be known.

    Output shape:
        (N,H,W,C).

    Example:

    >>> import numpy as np, keras_rmi
    >>> image = np.zeros((1, 8, 8, 3), "uint8")
    >>> p = np.full((1, 8, 8, 2), [0.6, 0.4], "float32")
    >>> p[0, 2, 2] = 0.4, 0.6
    >>> q = keras_rmi.layers.DenseCRF(iterations=1)([p, image])
    >>> tuple(q.shape), bool(q[0, 2, 2, 0] > 0.8)
    ((1, 8, 8, 2), True)

    References:
        Kraehenbuehl, Koltun, 2011, "Efficient Inference in Fully Connected
        CRFs with Gaussian Edge Potentials", https://arxiv.org/abs/1210.5644;
        Zheng et al., 2015, "Conditional Random Fields as Recurrent Neural
        Networks", https://arxiv.org/abs/1502.03240
    """

    def __init__(
        self,
        iterations: int = 5,
        gaussian_sxy: Deviations = 3,
        gaussian_compat: Compat = 3,
        bilateral_sxy: Deviations = 30,
        bilateral_srgb: Deviations = 13,
        bilateral_compat: Compat = 10,
        gaussian_normalization: Normalization = "symmetric",
        bilateral_normalization: Normalization = "symmetric",
        epsilon: float = 1e-5,
        trainable_compat: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.iterations = iterations
        self.gaussian_sxy = gaussian_sxy
        self.gaussian_compat = check_compat("gaussian_compat", gaussian_compat)
        self.bilateral_sxy = bilateral_sxy
        self.bilateral_srgb = bilateral_srgb
        self.bilateral_compat = check_compat(
            "bilateral_compat", bilateral_compat
        )
        self.gaussian_normalization = gaussian_normalization
        self.bilateral_normalization = bilateral_normalization
        self.epsilon = epsilon
        self.trainable_compat = check_flag("trainable_compat", trainable_compat)
        self._options = check_options(
            iterations,
            gaussian_sxy,
            bilateral_sxy,
            bilateral_srgb,
            gaussian_normalization,
            bilateral_normalization,
            epsilon,
        )
        self._compats = {
            "gaussian_compat": self.gaussian_compat,
            "bilateral_compat": self.bilateral_compat,
        }

    def build(self, input_shape):
        shape, _ = self._check_shapes(input_shape)
        self._mean_field = MeanField(shape[1:3], *self._options)
        self._mean_field.check_batch(shape[0])
        for name, compat in self._compats.items():
            check_classes(name, compat, shape[-1])
        self._compat_weights = None
        if self.trainable_compat:
            self._compat_weights = [
                self._add_compat(*item) for item in self._compats.items()
            ]

    def _check_shapes(self, input_shape):
        """Shapes of both inputs as tuples."""
        if (
            not isinstance(input_shape, (list, tuple))
            or len(input_shape) != 2
            or not all(isinstance(s, (list, tuple)) for s in input_shape)
        ):
            raise ValueError(
                message("inputs", "[probabilities, image]", input_shape)
            )
        shape, image = map(tuple, input_shape)
        if len(shape) != 4 or None in shape[1:]:
            raise ValueError(
                message(
                    "probabilities",
                    "shape (N,H,W,C), where only N may be unknown",
                    shape,
                    "H and W must be static, as the lattice is made for them: "
                    "give `keras.Input` the size of the images.",
                )
            )
        if not compatible(image, (*shape[:3], 3)):
            raise ValueError(
                message("image", f"shape {(*shape[:3], 3)}", image)
            )
        return shape, image

    def _add_compat(self, name, compat):
        value = np.asarray(compat, "float32")
        return self.add_weight(
            shape=value.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(
                value, dtype
            ),
            dtype="float32",
            autocast=False,
            name=name,
        )

    def call(self, inputs):
        probabilities, image = inputs
        compats = self._compat_weights
        if compats is None:
            compats = self._compats.values()
        compats = [ops.convert_to_tensor(c, "float32") for c in compats]
        refined = _backend_modes.by_images(
            self._mean_field, probabilities, image, compats
        )
        return ops.cast(refined, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return self._check_shapes(input_shape)[0]

    def get_config(self):
        names = (
            "iterations",
            "gaussian_sxy",
            *("bilateral_sxy", "bilateral_srgb"),
            *("gaussian_normalization", "bilateral_normalization"),
            *("epsilon", "trainable_compat"),
        )
        return {
            **super().get_config(),
            **self._compats,
            **{name: getattr(self, name) for name in names},
        }
