"""The Lovász extension of the Jaccard loss, by one sort per class."""

from keras import ops

from keras_rmi import (
    _backend,
    _backend_blocks,
    _backend_modes,
    _backend_order,
)
from keras_rmi.ops.overlap import over_pixels
from keras_rmi.ops.weights import not_zero


def lovasz_extension(errors, labels):
    """Value of each class and area of the class in the labels, both (N,C).

    `errors` (N,H,W,C) are >= 0 and 0 where void. With pixels in the order of
    falling errors, the value is `sum_k e_k (J_k - J_{k-1})`, where `J_k` is
    the Jaccard loss of being wrong at the first k pixels alone. The steps of
    `J` are the gradient; they depend on nothing but the order.
    """
    weight, truth = labels.weight[..., None], labels.dense()
    labelled = over_pixels(weight * truth)
    maps = (ops.stop_gradient(x) for x in (errors, truth, weight))
    steps = _backend_modes.by_images(_steps, *maps)
    # NaN anywhere in the class reaches all of its pixels.
    certain = 0.0 * over_pixels(errors)[:, None, None]
    steps = ops.stop_gradient(steps + certain)
    return over_pixels(errors * steps), labelled


def _steps(errors, truth, weight):
    """Steps of J (N,H,W,C); `weight` is (N,H,W,1)."""
    (steps,) = _plane_steps(_planes(errors, truth, weight), memory={})
    n, height, width, channels = ops.shape(errors)
    steps = _backend.reshape(steps, (n, channels, height, width))
    return ops.transpose(steps, (0, 2, 3, 1))


def _planes(errors, truth, weight):
    """Errors and the areas inside and outside of the class, (N*C,H,W)."""
    n, height, width, channels = ops.shape(errors)
    errors, truth, weight = (
        ops.transpose(x, (0, 3, 1, 2)) for x in (errors, truth, weight)
    )
    inside = weight * truth
    return tuple(
        _backend.reshape(x, (n * channels, height, width))
        for x in (errors, inside, weight - inside)
    )


@_backend_modes.operation(
    "jaccard_steps",
    "Tensor[] arrays",
    lambda planes: (planes[0].shape,),
)
def _plane_steps(planes, memory):
    """The same of `_planes`, each of a class in an image.

    Only classes that are there need a sort: of others the first pixel that is
    wrong costs everything, and all that follow nothing.
    """
    errors, inside, _ = planes
    present = ops.sum(ops.sum(inside, axis=-1), axis=-1) != 0.0
    flat = _flat(errors)
    pixel = ops.arange(ops.shape(flat)[-1], dtype="int32")
    first = ops.cast(ops.argmax(flat, axis=-1), "int32")[:, None]
    absent = _backend.reshape(
        ops.cast(pixel == first, "float32"), ops.shape(errors)
    )
    plane_bytes = 4 * (errors.shape[-2] or 1) * (errors.shape[-1] or 1)
    found = _backend_blocks.map_where(
        lambda planes: (_sorted_steps(*planes),),
        present,
        planes,
        absent,
        plane_bytes,
    )
    return (found,)


def _sorted_steps(*planes):
    """Of classes that are there, (...,H,W).

    The steps are written as products: a difference of two numbers near 1
    would leave few digits of a step of one pixel in a million.
    """
    shape = ops.shape(planes[0])
    errors, *areas = (_flat(x) for x in planes)
    order = _backend_order.falling(errors)
    inside, outside = (_backend_order.take(x, order) for x in areas)
    labelled = ops.sum(inside, axis=-1, keepdims=True)
    intersection = ops.relu(labelled - ops.cumsum(inside, axis=-1))
    union = labelled + ops.cumsum(outside, axis=-1)
    steps = inside * union + outside * intersection
    steps = steps / not_zero(union * (union - outside))
    return _backend.reshape(_backend_order.put_back(steps, order), shape)


def _flat(x):
    """(...,H,W) as (...,H*W)."""
    *leading, height, width = ops.shape(x)
    return _backend.reshape(x, (*leading, height * width))
