"""What a framework forces: with its namesakes all that names a backend.

Everything here has one meaning on all backends; the branches differ only in
how a framework is told to do it. Each states why `keras.ops` is not enough.
"""

import contextlib
import functools
import importlib.util
import math
import os

_SUPPORTED = ("tensorflow", "torch", "jax")
_installed = [name for name in _SUPPORTED if importlib.util.find_spec(name)]
_CHOICE = " or ".join(_installed) or "another one that is installed"


def _supported(backend):
    if backend in _SUPPORTED:
        return backend
    raise ImportError(
        f"keras_rmi does not run on {backend!r}. Set KERAS_BACKEND to "
        f"{_CHOICE} before Python starts."
    )


try:
    import keras
    from keras import ops

    from keras_rmi._backend_modes import op_by_op
except (ModuleNotFoundError, ValueError) as error:
    # What Keras misses for another backend is not what helps.
    _supported(os.environ.get("KERAS_BACKEND") or "tensorflow")
    # Keras says what is missing, but not what to do.
    _missing = (getattr(error, "name", None) or "").partition(".")[0]
    if _missing not in _SUPPORTED:
        raise
    raise ImportError(
        f"Keras cannot start: {error}. Install it (pip install {_missing}), "
        f"or set KERAS_BACKEND to {_CHOICE} before Python starts."
    ) from error

_BACKEND = _supported(keras.backend.backend())

# Working sets of eager code. Fresh temporaries of the size of the logits cost
# ten times their copy in page faults, so rows are worked on in blocks that
# stay in a core's cache. Planes cost many small operations each, so they go
# in larger groups, and a large one in bands. On a GPU a block only bounds the
# memory.
_ROW_BYTES = {"cpu": 3 * 2**19, "gpu": 2**28}
_PLANE_BYTES = {"cpu": 2**22, "gpu": 2**28}
_BAND_BYTES = {"cpu": 3 * 2**22, "gpu": 2**28}


def _device(x):
    """Where `x` is, "cpu" or "gpu", which stands for any accelerator.

    `keras.ops` does not say.
    """
    if _BACKEND == "torch":
        on_cpu = x.device.type == "cpu"
    elif _BACKEND == "jax":
        import jax

        on_cpu = jax.default_backend() == "cpu"
    else:
        import tensorflow as tf

        on_cpu = not tf.config.list_physical_devices("GPU")
    return "cpu" if on_cpu else "gpu"


def as_written(function):
    """Keeps AutoGraph of TensorFlow from rewriting `function`.

    There is nothing to rewrite, no branch or loop on tensors, and AutoGraph
    takes 5 s for what is traced in 0.7 s (2.21). `keras.ops` has no word for
    it. https://www.tensorflow.org/api_docs/python/tf/autograph/experimental/do_not_convert
    """
    if _BACKEND != "tensorflow":
        return function
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(function)


def compiled(function):
    """A function of tensors, compiled where op by op is slow.

    JAX compiles every single operation otherwise. For the other two that
    would take longer than it saves on a few images.
    """
    if _BACKEND != "jax":
        return function
    import jax

    return jax.jit(function)


def matmul(a, b):
    """Matrix product in full float32, where the default may be TF32.

    TF32 keeps 11 bits: enough for a convolution, fatal for a covariance.
    `keras.ops.matmul` has no precision argument.
    https://docs.jax.dev/en/latest/_autosummary/jax.default_matmul_precision.html
    https://docs.pytorch.org/docs/stable/notes/cuda.html#tf32-on-ampere
    https://www.tensorflow.org/api_docs/python/tf/config/experimental/enable_tensor_float_32_execution
    """
    if _BACKEND == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            return ops.matmul(a, b)
    if _BACKEND == "torch":
        return _exact_matmul(a, b) if op_by_op() else _OPAQUE_MATMUL(a, b)
    if _BACKEND == "tensorflow":
        import tensorflow as tf

        enabled = tf.config.experimental.tensor_float_32_execution_enabled
        if tf.config.list_physical_devices("GPU") and enabled():
            return split_matmul(a, b)
    return ops.matmul(a, b)


def _exact_matmul(a, b):
    with _full_precision():
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


_OPAQUE_MATMUL = _opaque_matmul() if _BACKEND == "torch" else None


@contextlib.contextmanager
def _full_precision():
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


def one_hot(ids, num_classes):
    """One-hot map (...,C) of ids in -1..C-1, int32; -1 is a zero row.

    On torch `keras.ops.one_hot` makes int64 first and refuses -1; rows of a
    table are copied four times as fast.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html
    """
    if _BACKEND == "torch":
        table = ops.eye(num_classes + 1, num_classes, dtype="float32")
        return ops.take(table, ids, axis=0)
    return ops.one_hot(ids, num_classes, dtype="float32")


def pick(x, ids):
    """`x` (...,C) at the ids (...), 0 to C-1, int32.

    On torch `keras.ops.take_along_axis` looks for negative ids first, which
    takes longer than the rest.
    """
    if _BACKEND == "torch":
        return x.gather(-1, ops.cast(ids, "int64")[..., None])[..., 0]
    return ops.take_along_axis(x, ids[..., None], axis=-1)[..., 0]


def subtract_at(x, ids, values):
    """`x` (...,C) less `values` (...) at the ids (...), 0 or more, int32.

    On torch in place, without a one-hot map.
    """
    if _BACKEND == "torch":
        index = ops.cast(ids, "int64")[..., None]
        return x.scatter_add_(-1, index, -values[..., None])
    return x - values[..., None] * one_hot(ids, x.shape[-1])


def pool(read, maps, factors, sides, average, fill):
    """Average or maximum of windows of `read(*maps)`: (N,H,W,..) to (N,h,w,..).

    `sides` are the cells outside of the maps above and below; left and right
    there are k // 2. They are `fill`, or not there where sizes are known:
    then whole windows are a view and those at the border come apart, so that
    nothing is padded. Torch makes `read(*maps)` once. Where code is compiled
    each row of the windows is read on its own: XLA would write a map that
    several slices read, and on a CPU its own pooling copies the map first.
    """
    rows, columns = factors
    if op_by_op():
        maps, read = (read(*maps),), _same
    x = _reduce_windows(read, maps, 1, rows, sides, average, fill)
    sides = (columns // 2, columns // 2)
    x = _reduce_windows(_same, (x,), 2, columns, sides, average, fill)
    return x / (rows * columns) if average else x


def _same(x):
    return x


def _reduce_windows(read, maps, axis, factor, sides, average, fill):
    """Sum or maximum of `factor` entries along `axis`."""
    if factor == 1:
        return read(*maps)
    reduce = ops.add if average else ops.maximum
    unknown = maps[0].shape[axis] is None
    if unknown:
        maps, sides = [_pad_axis(x, axis, *sides, fill) for x in maps], (0, 0)
    length = ops.shape(maps[0])[axis]
    begin = min(factor - sides[0], length) if sides[0] else 0
    count = (length - begin) // factor
    end = begin + count * factor

    def part(start, stop, step=1):
        index = (slice(None),) * axis + (slice(start, stop, step),)
        return read(*(x[index] for x in maps))

    def at_border(start, stop):
        entries = [part(i, i + 1) for i in range(start, stop)]
        return functools.reduce(reduce, entries)

    windows = [at_border(0, begin)] if begin else []
    if op_by_op() and count:
        x = part(begin, end).unflatten(axis, (count, factor))
        windows.append(
            ops.sum(x, axis + 1) if average else ops.max(x, axis + 1)
        )
    elif unknown or count:
        entries = [part(begin + i, end, factor) for i in range(factor)]
        windows.append(functools.reduce(reduce, entries))
    if sides[1] and length - end + sides[1] >= factor:
        windows.append(at_border(end, length))
    return concatenate(windows, axis)


def _pad_axis(x, axis, before, after, fill):
    sides = [(0, 0)] * len(x.shape)
    sides[axis] = (before, after)
    return pad(x, sides, fill)


def pad(x, sides, fill=0.0):
    """Cells of `fill` on both sides of every axis.

    On torch as for `reshape`: `keras.ops.pad` takes 0.3 ms for a small array.
    What TensorFlow vectorises gets zeros instead of `fill` (2.21).
    https://github.com/tensorflow/tensorflow/blob/v2.21.0/tensorflow/python/ops/parallel_for/pfor.py
    """
    if _BACKEND == "tensorflow" and fill:
        inside = ops.pad(ops.ones_like(x, dtype="bool"), sides)
        return ops.where(inside, ops.pad(x, sides), ops.cast(fill, x.dtype))
    if _BACKEND != "torch":
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
    return x.reshape(shape) if _BACKEND == "torch" else ops.reshape(x, shape)


def repeat_rows(x, factor, skip, length):
    """Each row of (N,h,W,C) `factor` times, of these `length` from `skip`.

    The result is (N,m,q,W,C): on torch, where whole rows are repeated, m = h
    and q = 1 stands for all repetitions; otherwise m = length.
    """
    n, height, width, channels = ops.shape(x)
    x = x[:, :, None]
    if op_by_op() and skip == 0 and length == height * factor:
        return x
    x = ops.broadcast_to(x, (n, height, factor, width, channels))
    x = reshape(x, (n, height * factor, width, channels))
    return x[:, skip : skip + length, None]


def samples(maps, count, memory):
    """Matrix of all regions, and a 1: (...,k*count+1,h*w).

    `maps` are `count` triples (operation, a, b) that give maps (...,k,h,w);
    a column holds the entries of a region in the k kinds of maps. On torch
    each map is written where it belongs, and `memory`, a dict, keeps the
    matrix for the next one of its shape: fresh memory costs more than what is
    written into it. XLA on a CPU multiplies twice as fast where a region lies
    in one piece, so there the matrix is its transpose.
    """
    if _BACKEND != "torch":
        maps = [operation(a, b) for operation, a, b in maps]
        kinds = range(maps[0].shape[-3])
        maps = [m[..., kind, :, :] for kind in kinds for m in maps]
        z = ops.stack([*maps, ops.ones_like(maps[0])], axis=-1)
        *leading, height, width, size = ops.shape(z)
        return reshape(z, (*leading, height * width, size))
    import torch

    operations = {ops.add: torch.add, ops.subtract: torch.sub}
    for index, (operation, a, b) in enumerate(maps):
        if index == 0:
            *leading, kinds, height, width = a.shape
            shape = (*leading, kinds * count + 1, height * width)
            z = _fresh_or_kept(memory, shape, a)
            z[..., -1, :] = 1.0
            rows = z[..., :-1, :].unflatten(-1, (height, width))
            rows = rows.unflatten(-3, (kinds, count))
        operations[operation](a, b, out=rows[..., index, :, :])
    return z


def _fresh_or_kept(memory, shape, like):
    """An array to write to; the last of a row of groups may be smaller."""
    count, *rest = shape
    kept = memory.get(tuple(rest))
    if kept is None or kept.shape[0] < count:
        kept = memory[tuple(rest)] = like.new_empty(shape)
    return kept[:count]


def second_moments(z):
    """Products Z Z' of `samples`; the last row holds sums and their number.

    Torch is slow where the number of rows is no multiple of eight, so there
    the row of ones is left out and the sums come apart.
    """
    if _BACKEND != "torch":
        return matmul(ops.swapaxes(z, -1, -2), z)
    rows = z[..., :-1, :]
    sums = ops.sum(rows, axis=-1)[..., None]
    count = ops.full_like(sums[..., :1, :], z.shape[-1])
    products = matmul(rows, ops.swapaxes(rows, -1, -2))
    above = ops.concatenate([products, sums], axis=-1)
    below = ops.concatenate([ops.swapaxes(sums, -1, -2), count], axis=-1)
    return ops.concatenate([above, below], axis=-2)


def transform(matrix, z, memory):
    """Product with `samples`, (...,m,h*w); `memory` as there."""
    if _BACKEND != "torch":
        return matmul(matrix, ops.swapaxes(z, -1, -2))
    import torch

    out = _fresh_or_kept(memory, (*matrix.shape[:-1], z.shape[-1]), z)
    with _full_precision():
        return torch.matmul(matrix, z, out=out)


def add_rows(x, rows, start):
    """`x` (...,h,w) with `rows` added to its rows from `start` to the end.

    On torch in place.
    """
    if _BACKEND == "torch":
        x[..., start:, :] += rows
        return x
    return ops.concatenate(
        [x[..., :start, :], x[..., start:, :] + rows], axis=-2
    )


def add_shifted(parts, axis, count=None):
    """Sum of equal arrays, the k-th moved by k along `axis`.

    The result is longer by `count - 1`. On torch they are added in place.
    """
    count = len(parts) if count is None else count
    axis = axis + len(parts[0].shape)
    if _BACKEND == "torch":
        import torch

        length = parts[0].shape[axis]
        shape = list(parts[0].shape)
        shape[axis] = length + count - 1
        total = torch.zeros(shape, dtype=parts[0].dtype, device=parts[0].device)
        for k, part in enumerate(parts):
            total.narrow(axis, k, length).add_(part)
        return total
    total = None
    for k, part in enumerate(parts):
        padding = [(0, 0)] * len(part.shape)
        padding[axis] = (k, count - 1 - k)
        part = pad(part, padding) if count > 1 else part
        total = part if total is None else total + part
    return total


def inverse_lower(factor):
    """Inverse of lower triangular matrices (..., n, n).

    Forward substitution as a loop: XLA takes 2 s on a CPU to compile
    `ops.solve_triangular` for matrices of 18 x 18, and 0.2 s for this.
    """
    size = factor.shape[-1]
    identity = ops.eye(size, dtype="float32")
    if _BACKEND == "torch":
        identity = ops.broadcast_to(identity, factor.shape)
        return ops.solve_triangular(factor, identity, lower=True)

    def substitute(i, inverse):
        unit = ops.take(identity, i, axis=0)
        row = ops.take(factor, i, axis=-2)
        known = ops.sum(row[..., None] * inverse, axis=-2)
        solved = (unit - known) / ops.take(row, i, axis=-1)[..., None]
        return inverse + unit[:, None] * solved[..., None, :]

    return ops.fori_loop(0, size, substitute, ops.zeros_like(factor))


def row_blocks(num_rows, multiple, bytes_per_row, like):
    """Ranges of rows to work on one after the other, as (start, stop).

    Only torch runs op by op and profits; XLA fuses the whole image, and
    blocks would only lengthen the program. An unknown size is one block.
    """
    if not op_by_op() or num_rows is None:
        return [(0, num_rows)]
    windows = _ROW_BYTES[_device(like)] // (bytes_per_row * multiple)
    step = max(1, windows) * multiple
    return [(i, min(i + step, num_rows)) for i in range(0, num_rows, step)]


def concatenate(parts, axis):
    """Concatenates, but for a single part, which is returned as it is."""
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis)


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
    That is per device: see `_map_shards`.
    """
    if _BACKEND == "torch":
        step = max(1, _PLANE_BYTES[_device(arrays[0])] // bytes_per_plane)
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
    if _BACKEND == "jax":
        return _map_shards(function, arrays, bytes_per_plane)
    return ops.map(function, arrays)


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
    if _device(arrays[0]) == "gpu":
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


def band_bytes(like):
    """Working set of a band, for `sum_bands`."""
    return _BAND_BYTES[_device(like)]


def sum_bands(function, x, count, rows, overlap):
    """Sum of `function(band)` over bands of the rows of `x` (...,h,w).

    Band k begins in row `k * rows` and has `rows + overlap` of them; without
    `rows` there is one band, all of `x`. They are a loop for XLA, as long a
    program as one band, and for Python, where torch adds in place.
    """
    if rows is None:
        return function(x)
    if _BACKEND == "torch":
        total = function(x[..., : rows + overlap, :])
        for k in range(1, count):
            total += function(x[..., k * rows : (k + 1) * rows + overlap, :])
        return total
    bands = ops.map(
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
    if _BACKEND == "torch":
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
    parts = ops.map(
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
