"""What a framework forces: with its namesakes all that names a backend.

Everything here has one meaning on all backends; the branches differ only in
how a framework is told to do it. Each states why `keras.ops` is not enough.
"""

import contextlib
import functools

import numpy as np
from keras import ops

from keras_rmi._backend_choice import BACKEND
from keras_rmi._backend_modes import op_by_op


def matmul(a, b):
    """Matrix product in full float32, where the default may be TF32.

    TF32 keeps 11 bits: enough for a convolution, fatal for a covariance.
    `keras.ops.matmul` has no precision argument.
    https://docs.jax.dev/en/latest/_autosummary/jax.default_matmul_precision.html
    https://docs.pytorch.org/docs/stable/notes/cuda.html#tf32-on-ampere
    https://www.tensorflow.org/api_docs/python/tf/config/experimental/enable_tensor_float_32_execution
    """
    if BACKEND == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            return ops.matmul(a, b)
    if BACKEND == "torch":
        return _exact_matmul(a, b) if op_by_op() else _OPAQUE_MATMUL(a, b)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        enabled = tf.config.experimental.tensor_float_32_execution_enabled
        if tf.config.list_physical_devices("GPU") and enabled():
            return split_matmul(a, b)
    return ops.matmul(a, b)


def _exact_matmul(a, b):
    with full_precision():
        return ops.matmul(a, b)


def _opaque_matmul():
    """`_exact_matmul` for the compiler, which traces no such setting.

    https://docs.pytorch.org/docs/stable/library.html#torch.library.custom_op
    """
    import torch

    def exact(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return _exact_matmul(a, b)

    operation = torch.library.custom_op(
        "keras_rmi::matmul", exact, mutates_args=()
    )
    operation.register_fake(torch.matmul)
    return operation


_OPAQUE_MATMUL = _opaque_matmul() if BACKEND == "torch" else None


@contextlib.contextmanager
def full_precision():
    """No TF32 in matrix products of torch."""
    import torch

    precision = torch.get_float32_matmul_precision()
    if precision != "highest":
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if precision != "highest":
            torch.set_float32_matmul_precision(precision)


def split_matmul(a, b):
    """Matrix product that survives operands being rounded to 11 bits.

    TensorFlow has no switch for a single product, so each operand is split
    into a part that TF32 holds exactly and the rest (Veltkamp splitting).
    """

    def split(x):
        scaled = x * (2.0**13 + 1.0)
        high = scaled - (scaled - x)
        return high, x - high

    a_high, a_low = split(a)
    b_high, b_low = split(b)
    return ops.matmul(a_high, b_high) + (
        ops.matmul(a_high, b_low) + ops.matmul(a_low, b_high)
    )


def constant(value, like, dtype="float32"):
    """A number or an array, the same in every step, where `like` is.

    On torch it is kept, as a GPU waits for everything that comes from the
    host; so a number is not left to `keras.ops`, which makes a tensor of it.
    https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html
    """
    if not op_by_op():
        return ops.convert_to_tensor(value, dtype=dtype)
    import torch

    value = np.asarray(value, dtype)
    # Others live only as long as what they stand for is traced.
    if type(like) is not torch.Tensor:
        return torch.as_tensor(value, device=like.device)
    return _kept(value.tobytes(), value.shape, dtype, like.device)


def where(condition, x, number, dtype="float32"):
    """`x` where the condition holds, and a number elsewhere."""
    return ops.where(condition, x, constant(number, x, dtype))


@functools.lru_cache(maxsize=256)
def _kept(content, shape, dtype, device):
    import torch

    value = np.frombuffer(content, dtype).reshape(shape).copy()
    # What inference mode makes can never take part in a gradient.
    with torch.inference_mode(False):
        return torch.as_tensor(value, device=device)


def one_hot(ids, num_classes):
    """One-hot map (...,C) of ids in -1..C-1, int32; -1 is a zero row.

    On torch `keras.ops.one_hot` makes int64 first and refuses -1; rows of a
    table are copied four times as fast.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html
    """
    if BACKEND == "torch":
        table = ops.eye(num_classes + 1, num_classes, dtype="float32")
        return ops.take(table, ids, axis=0)
    return ops.one_hot(ids, num_classes, dtype="float32")


def pick(x, ids):
    """`x` (...,C) at the ids (...), 0 to C-1, int32.

    On torch `keras.ops.take_along_axis` looks for negative ids first, which
    takes longer than the rest.
    """
    if BACKEND == "torch":
        return x.gather(-1, ops.cast(ids, "int64")[..., None])[..., 0]
    return ops.take_along_axis(x, ids[..., None], axis=-1)[..., 0]


def subtract_at(x, ids, values):
    """`x` (...,C) less `values` (...) at the ids (...), 0 or more, int32.

    On torch in place, without a one-hot map.
    """
    if BACKEND == "torch":
        index = ops.cast(ids, "int64")[..., None]
        return x.scatter_add_(-1, index, -values[..., None])
    return x - values[..., None] * one_hot(ids, x.shape[-1])


def softmax(x):
    """Softmax of the last axis; on torch as `_fill_no_vector` says."""
    if not _fill_no_vector(x):
        return ops.softmax(x, axis=-1)
    x = ops.exp(_less_largest(x))
    return x / ops.sum(x, axis=-1, keepdims=True)


def log_softmax(x):
    """Its logarithm."""
    if not _fill_no_vector(x):
        return ops.log_softmax(x, axis=-1)
    x = _less_largest(x)
    return x - ops.log(ops.sum(ops.exp(x), axis=-1, keepdims=True))


def _fill_no_vector(x):
    """Whether torch would take numbers one by one, five times as long.

    On a CPU it does where the last axis is shorter than a vector.
    https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/native/cpu/SoftMaxKernel.cpp
    """
    if BACKEND != "torch" or x.device.type != "cpu":
        return False
    return x.shape[-1] < _VECTOR


def _vector():
    """Numbers of float32 in a vector of torch."""
    import torch

    return 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8


_VECTOR = _vector() if BACKEND == "torch" else None


def _less_largest(x):
    # Not `keras.ops.max` (3.15), which torch.compile cannot read.
    return x - x.amax(-1, keepdim=True).detach()


def pad(x, sides, fill=0.0):
    """Cells of `fill` on both sides of every axis.

    On torch as for `reshape`: `keras.ops.pad` takes 0.3 ms for a small array.
    What TensorFlow vectorises gets zeros instead of `fill` (2.21).
    https://github.com/tensorflow/tensorflow/blob/v2.21.0/tensorflow/python/ops/parallel_for/pfor.py
    """
    if BACKEND == "tensorflow" and fill:
        inside = ops.pad(ops.ones_like(x, dtype="bool"), sides)
        return ops.where(inside, ops.pad(x, sides), ops.cast(fill, x.dtype))
    if BACKEND != "torch":
        return ops.pad(x, sides, constant_values=fill)
    import torch

    flat = [cells for side in reversed(sides) for cells in side]
    return torch.nn.functional.pad(x, flat, value=fill)


def reshape(x, shape):
    """A view in another shape.

    On torch `keras.ops.reshape` takes 70 microseconds (3.15) to look for
    symbolic tensors in the shape, as long as the work on a block of rows.
    https://github.com/keras-team/keras/blob/v3.15.1/keras/src/tree/torchtree_impl.py
    """
    return x.reshape(shape) if BACKEND == "torch" else ops.reshape(x, shape)


def concatenate(parts, axis):
    """Concatenates, but for a single part, which is returned as it is."""
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis)
