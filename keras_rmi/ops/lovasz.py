"""The Lovász extension of the Jaccard loss, by one sort per class."""

from keras import ops

from keras_rmi import _backend


def lovasz_extension(errors, labels):
    """Value of each class and area of the class in the labels, both (N,C).

    `errors` (N,H,W,C) are >= 0 and 0 where void. With pixels in the order of
    falling errors, the value is `sum_k e_k (J_k - J_{k-1})`, where `J_k` is
    the Jaccard loss of being wrong at the first k pixels alone. The steps of
    `J` are written as products: a difference of two numbers near 1 would
    leave few digits of a step of one pixel in a million.
    """
    weight, truth = labels.weight[..., None], labels.dense()
    inside = _planes(weight * truth)
    outside = _planes(weight * (1.0 - truth))
    errors = _planes(errors)
    order = ops.argsort(-ops.stop_gradient(errors), axis=-1)
    errors, inside, outside = (
        ops.take_along_axis(x, order, axis=-1)
        for x in (errors, inside, outside)
    )
    labelled = ops.sum(inside, axis=-1, keepdims=True)
    absent = labelled == 0.0
    intersection = ops.relu(labelled - ops.cumsum(inside, axis=-1))
    union = labelled + ops.cumsum(outside, axis=-1)
    steps = inside * union + outside * intersection
    pairs = union * (union - outside)
    steps = steps / _backend.where(labelled != 0.0, pairs, 1.0)
    # NaN anywhere in the class reaches all of its pixels.
    steps = steps + 0.0 * ops.sum(errors, axis=-1, keepdims=True)
    values = ops.sum(errors * ops.stop_gradient(steps), axis=-1)
    # Every pixel that is wrong completes the loss of an absent class.
    values = ops.where(absent[..., 0], errors[..., 0], values)
    return values, labelled[..., 0]


def _planes(x):
    """(N,H,W,C) as (N,C,H*W)."""
    n, _, _, channels = ops.shape(x)
    return ops.transpose(ops.reshape(x, (n, -1, channels)), (0, 2, 1))
