"""Predictions as they come: rank, dtype and channel axis."""

from keras import ops

from keras_rmi._validation import check_integer, message


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


def read_map(argument, x, axis=-1):
    """A floating map as a channels-last tensor and its static shape."""
    x = ops.convert_to_tensor(x)
    shape = tuple(x.shape)
    if len(shape) != 4:
        expected = "(N, H, W, C)" if axis == -1 else "(N, C, H, W)"
        raise ValueError(
            message(f"{argument}.shape", f"four axes {expected}", shape)
        )
    if "float" not in str(x.dtype):
        raise TypeError(
            message(f"{argument}.dtype", "a floating dtype", str(x.dtype))
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
