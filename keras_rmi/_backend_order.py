"""Numbers along the last axis in another order, and back.

Like `_backend`, a file that names backends.
"""

import math

from keras import ops

from keras_rmi._backend import reshape
from keras_rmi._backend_choice import BACKEND


def falling(x):
    """Where the largest is, the next, and so on; of equals the first first.

    On torch indices are int64, which `keras.ops` makes int32 and back.
    """
    if BACKEND == "torch":
        return x.argsort(dim=-1, descending=True, stable=True)
    return ops.argsort(-x, axis=-1)


def take(x, order):
    """`x` in this order; on torch as for `_backend.pick`."""
    if BACKEND == "torch":
        return x.gather(-1, order)
    return ops.take_along_axis(x, order, axis=-1)


def put_back(x, order):
    """What `take` took.

    `keras.ops` knows no indices along one axis for it.
    """
    if BACKEND == "torch":
        return x.new_empty(x.shape).scatter_(-1, order, x)
    *leading, length = ops.shape(x)
    rows = math.prod(leading)
    first = ops.arange(rows, dtype="int32")[:, None] * length
    index = reshape(first + reshape(order, (rows, length)), (-1, 1))
    x = reshape(x, (rows * length,))
    # Not `scatter`, which `tf.vectorized_map` cannot do for no planes (2.21).
    x = ops.scatter_update(ops.zeros_like(x), index, x)
    return reshape(x, (*leading, length))
