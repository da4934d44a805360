"""Large maps in parts: blocks of rows, planes, and bands of a plane.

Like `_backend`, a file that names backends.
"""

import math

import keras
from keras import ops

from keras_rmi._backend import concatenate, pad, reshape
from keras_rmi._backend_choice import BACKEND
from keras_rmi._backend_modes import device, op_by_op
from keras_rmi._backend_windows import add_shifted

# Working sets of eager code. Fresh temporaries of the size of the logits cost
# ten times their copy in page faults, so rows are worked on in blocks that
# stay in a core's cache. Planes cost many small operations each, so they go
# in larger groups, and a large one in bands. On a GPU a block only bounds the
# memory.
_ROW_BYTES = {"cpu": 3 * 2**19, "gpu": 2**28}
_PLANE_BYTES = {"cpu": 2**22, "gpu": 2**28}
_BAND_BYTES = {"cpu": 3 * 2**22, "gpu": 2**28}


def row_blocks(num_rows, multiple, bytes_per_row, like):
    """Ranges of rows to work on one after the other, as (start, stop).

    Only torch runs op by op and profits; XLA fuses the whole image, and
    blocks would only lengthen the program. An unknown size is one block.
    """
    if not op_by_op() or num_rows is None:
        return [(0, num_rows)]
    windows = _ROW_BYTES[device(like)] // (bytes_per_row * multiple)
    step = max(1, windows) * multiple
    return [(i, min(i + step, num_rows)) for i in range(0, num_rows, step)]


def assemble(function, blocks, axis, size):
    """Concatenates `function(start, stop)` of all blocks along `axis`.

    On torch the blocks are written into the result as they are made, so that
    they never exist a second time; `keras.ops` has no write in place
    (`ops.slice_update` copies: https://keras.io/api/ops/core/).
    """
    if not op_by_op() or len(blocks) == 1:
        return concatenate([function(*block) for block in blocks], axis)
    return _assemble(lambda *block: (function(*block),), blocks, axis, size)[0]


def _assemble(function, blocks, axis, size):
    """The same on torch, for functions that return tuples."""
    import torch

    if len(blocks) == 1:
        return function(*blocks[0])
    results, position = None, 0
    for block in blocks:
        parts = function(*block)
        if results is None:
            results = []
            for part in parts:
                shape = list(part.shape)
                shape[axis] = size
                results.append(
                    torch.empty(shape, dtype=part.dtype, device=part.device)
                )
        length = parts[0].shape[axis]
        for result, part in zip(results, parts):
            result.narrow(axis, position, length).copy_(part)
        position += length
    return tuple(results)


def map_planes(function, arrays, bytes_per_plane):
    """Applies `function` to planes, the leading axis of each of `arrays`.

    `function` takes and returns a tuple of tensors and accepts any leading
    axes. It sees one plane at a time under XLA on a CPU, where a loop reuses
    its buffers and a batched product is slow, and groups of planes otherwise.
    That is per device: see `_map_shards`. Nobody differentiates it: see `_map`.
    """
    if BACKEND == "torch":
        step = max(1, _PLANE_BYTES[device(arrays[0])] // bytes_per_plane)
        count = arrays[0].shape[0]
        blocks = [(i, min(i + step, count)) for i in range(0, count, step)]
        return _assemble(
            lambda start, stop: function(
                tuple(array[start:stop] for array in arrays)
            ),
            blocks,
            axis=0,
            size=count,
        )
    if BACKEND == "jax":
        return _map_shards(function, arrays, bytes_per_plane)
    return _map(function, arrays)


def _map(function, arrays):
    """`ops.map`, which TensorFlow is to trace once; without a gradient.

    Keras traces `function` there for the shapes of its results, and again for
    the loop (3.15): a loop in a loop four times. A function that is traced
    knows its shapes. In eager mode it would be traced in every call. XLA
    cannot compile the gradient of such a loop.
    https://www.tensorflow.org/api_docs/python/tf/map_fn
    """
    if BACKEND != "tensorflow":
        return ops.map(function, arrays)
    import tensorflow as tf

    if tf.executing_eagerly():
        return ops.map(function, arrays)
    of_one = keras.tree.map_structure(
        lambda x: tf.TensorSpec(x.shape[1:], x.dtype), arrays
    )
    traced = tf.function(function, autograph=False)
    traced = traced.get_concrete_function(of_one)
    results = keras.tree.map_structure(
        tf.TensorSpec.from_tensor, traced.structured_outputs
    )
    return tf.map_fn(traced, arrays, fn_output_signature=results)


def _map_shards(function, arrays, bytes_per_plane):
    """The same on JAX, where planes may lie on many devices.

    A loop over an axis that is split over devices makes XLA gather all planes
    on each of them. So the loop is over the planes of a device, and each of
    its steps takes one from every device. What is traced does not know how
    many devices there will be; a divisor of their number does no harm where
    they are fewer.
    https://docs.jax.dev/en/latest/notebooks/Distributed_arrays_and_automatic_parallelization.html
    """
    import jax

    count, devices = arrays[0].shape[0], jax.device_count()
    shards = math.gcd(count, devices) if devices > 1 else 1
    step = 1
    if device(arrays[0]) == "gpu":
        step = max(1, _PLANE_BYTES["gpu"] // bytes_per_plane)
        if step >= count // shards:
            return function(arrays)
    step = step if step > 1 else None
    if shards == 1:
        return jax.lax.map(function, arrays, batch_size=step)

    def deal(x):
        x = x.reshape(shards, count // shards, *x.shape[1:])
        return jax.numpy.swapaxes(x, 0, 1)

    def collect(x):
        x = jax.numpy.swapaxes(x, 0, 1)
        return x.reshape(count, *x.shape[2:])

    results = jax.lax.map(function, tuple(map(deal, arrays)), batch_size=step)
    return tuple(map(collect, results))


def map_where(function, needed, arrays, otherwise, bytes_per_plane):
    """`function` of the planes that need it, and `otherwise` of all others.

    As `map_planes`, for one array; `otherwise` may be lost. Torch takes the
    planes that need it out, and looks at their number, as Cholesky
    decompositions look at their success. XLA chooses for every plane of its
    loop.
    """
    if BACKEND == "torch":
        (index,) = needed.nonzero(as_tuple=True)
        if len(index) == 0:
            return otherwise
        (found,) = map_planes(
            lambda some: function(tuple(array[some[0]] for array in arrays)),
            (index,),
            bytes_per_plane,
        )
        return otherwise.index_copy_(0, index, found)

    def choose(arrays):
        needed, otherwise, *arrays = arrays
        found = ops.cond(
            ops.any(needed), lambda: function(arrays)[0], lambda: otherwise
        )
        return (ops.where(needed[..., None, None], found, otherwise),)

    return ops.cond(
        ops.any(needed),
        lambda: map_planes(
            choose, (needed, otherwise, *arrays), bytes_per_plane
        )[0],
        lambda: otherwise,
    )


def band_bytes(like):
    """Working set of a band, for `sum_bands`."""
    return _BAND_BYTES[device(like)]


def sum_bands(function, x, count, rows, overlap):
    """Sum of `function(band)` over bands of the rows of `x` (...,h,w).

    Band k begins in row `k * rows` and has `rows + overlap` of them; without
    `rows` there is one band, all of `x`. They are a loop for XLA, as long a
    program as one band, and for Python, where torch adds in place.
    """
    if rows is None:
        return function(x)
    if BACKEND == "torch":
        total = function(x[..., : rows + overlap, :])
        for k in range(1, count):
            total += function(x[..., k * rows : (k + 1) * rows + overlap, :])
        return total
    bands = _map(
        lambda k: function(_band(x, k, rows, overlap)), _indices(count)
    )
    return ops.sum(bands, axis=0)


def overlap_bands(function, x, count, rows, overlap):
    """Bands of results, added where they overlap: (...,count*rows+overlap,w).

    `function(band)` returns a tuple of arrays (...,rows+overlap,w); the bands
    are those of `sum_bands`, `overlap` is at most `rows`. On torch in place.
    """
    if rows is None:
        return function(x)
    if BACKEND == "torch":
        totals = None
        for k in range(count):
            band = slice(k * rows, (k + 1) * rows + overlap)
            parts = function(x[..., band, :])
            if totals is None:
                shape = (count * rows + overlap, x.shape[-1])
                totals = tuple(
                    part.new_zeros((*part.shape[:-2], *shape)) for part in parts
                )
            for total, part in zip(totals, parts):
                total[..., band, :] += part
        return totals
    parts = _map(
        lambda k: function(_band(x, k, rows, overlap)), _indices(count)
    )
    joined = []
    for part in parts:
        part = ops.moveaxis(part, 0, -3)
        padding = [(0, 0)] * len(part.shape)
        padding[-2] = (0, rows - overlap)
        below = pad(part[..., rows:, :], padding)
        total = add_shifted([part[..., :rows, :], below], axis=-3)
        *leading, blocks, _, width = ops.shape(total)
        total = reshape(total, (*leading, blocks * rows, width))
        joined.append(total[..., : count * rows + overlap, :])
    return tuple(joined)


def _indices(count):
    return ops.arange(count, dtype="int32")


def _band(x, k, rows, overlap):
    """Band `k` of `x`, a number that is not known when code is compiled."""
    *leading, _, width = ops.shape(x)
    start = [0 * k] * len(leading) + [k * rows, 0 * k]
    return ops.slice(x, start, (*leading, rows + overlap, width))
