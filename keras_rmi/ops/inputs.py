"""Predictions as they come: rank, dtype, channel axis, NaN and infinity."""

import keras
from keras import ops

from keras_rmi import _backend, _backend_blocks
from keras_rmi._validation import check_integer, message, static_shape


def read_axis(axis):
    """Channel axis of four: 1 for channels first, -1 for channels last."""
    expected = "-1 (channels last) or 1 (channels first)"
    try:
        known = check_integer("axis", axis) in (-1, 3, 1, -3)
    except TypeError:
        raise TypeError(message("axis", expected, axis)) from None
    if not known:
        raise ValueError(message("axis", expected, axis))
    return 1 if axis in (1, -3) else -1


def read_tensor(argument, x):
    """`x` as a tensor. What the frameworks raise does not name the argument."""
    try:
        return ops.convert_to_tensor(x)
    except (TypeError, ValueError) as error:
        expected = "a tensor or an array of numbers"
        raise TypeError(message(argument, expected, type(x))) from error


def read_map(argument, x, axis=-1):
    """A floating map as a channels-last tensor and its static shape."""
    x = read_tensor(argument, x)
    shape = static_shape(argument, x)
    if len(shape) != 4:
        expected = "(N, H, W, C)" if axis == -1 else "(N, C, H, W)"
        raise ValueError(
            message(f"{argument}.shape", f"four axes {expected}", shape)
        )
    dtype = keras.backend.standardize_dtype(x.dtype)
    if "float" not in dtype:
        raise TypeError(message(f"{argument}.dtype", "a floating dtype", dtype))
    if 0 in (shape[1:3] if axis == -1 else shape[2:]):
        raise ValueError(
            message(f"{argument}.shape", "a map of one pixel or more", shape)
        )
    if axis == 1:
        x = ops.moveaxis(x, 1, -1)
        shape = (shape[0], *shape[2:], shape[1])
    if shape[-1] is None or shape[-1] < 1:
        raise ValueError(
            message(
                f"{argument}.shape",
                f"a known number of channels at axis {axis}",
                shape,
            )
        )
    return x, shape


def certainty(x):
    """1 for each image (N,...) whose numbers are finite, NaN for others, (N,).

    Activations hide what a network emits: the sigmoid of infinity is 1, and
    what is void or not sampled is not looked at. The sum sees all, in blocks
    of rows, as a cast of the whole map would be a copy. It is itself finite
    while numbers stay below 1e30.
    """
    x = ops.stop_gradient(x)
    bytes_per_row = 4
    for length in (*x.shape[:1], *x.shape[2:]):
        bytes_per_row *= length or 1
    blocks = _backend_blocks.row_blocks(x.shape[1], 1, bytes_per_row, x)
    total = sum(
        ops.sum(ops.cast(x[:, start:stop], "float32"), axis=1)
        for start, stop in blocks
    )
    total = ops.sum(total, axis=tuple(range(1, len(total.shape))))
    return one_or_nan(ops.isfinite(total))


def one_or_nan(good):
    """1 where `good` is true and NaN elsewhere.

    Made as it is needed: tools that look for the first NaN or infinity of a
    graph would find a constant.
    """
    one, minus_one = (_backend.constant(x, good) for x in (1.0, -1.0))
    return ops.sqrt(ops.where(good, one, minus_one))
