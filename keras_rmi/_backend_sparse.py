"""Searches and sums by index: like `_backend`, a file that names backends.

Everything here has one meaning on all backends. The branches are the native
primitives of a framework; the rest is the plain form in `keras.ops`, which
every backend runs when `native` is False and the tests compare with.
"""

from keras import ops

from keras_rmi._backend_choice import BACKEND
from keras_rmi._backend_modes import exported, exported_to_onnx


def repeat(count, function, x, constants=()):
    """`x` after `count` times `x = function(i, x, *constants)`."""
    return ops.fori_loop(0, count, lambda i, x: function(i, x, *constants), x)


def _repeat_with_gradient(count, function, x, constants=()):
    """Likewise on TensorFlow, with a gradient that is a loop as well.

    TensorFlow would keep what the steps need in lists, which XLA cannot where
    a size is unknown, and writing out all steps takes it half a minute to
    compile. Here `x` alone is kept, of each step, and the step done again.
    https://www.tensorflow.org/xla/known_issues
    """
    import tensorflow as tf

    @tf.custom_gradient
    def differentiable(x, *constants):
        def advance(i, state):
            x, kept = state
            start = [i, *[0] * len(x.shape)]
            kept = ops.slice_update(kept, start, x[None])
            return function(i, x, *constants), kept

        kept = ops.zeros((count, *ops.shape(x)), x.dtype)
        value, kept = repeat(count, advance, (x, kept))

        def gradient(upstream):
            def go_back(i, state):
                upstream, *totals = state
                step = count - 1 - i
                upstream, *found = _gradients(
                    lambda *inputs: function(step, *inputs),
                    (kept[step], *constants),
                    upstream,
                )
                totals = (a + b for a, b in zip(totals, found))
                return upstream, *totals

            start = upstream, *map(ops.zeros_like, constants)
            return repeat(count, go_back, start)

        return value, gradient

    return differentiable(x, *constants)


def _on_torch():
    """Whether what only torch has can be used."""
    return BACKEND == "torch" and not exported_to_onnx()


def take(x, ids, native=True):
    """Rows of `x` at `ids`, which are int32 and in range.

    `keras.ops.take` looks for negative and too large ids first, on every
    backend, which takes as long as the rest.
    """
    if native and BACKEND == "jax":
        return x.at[ids].get(mode="promise_in_bounds")
    if native and BACKEND == "torch":
        taken = x.index_select(0, ids.reshape(-1))
        return taken.reshape(*ids.shape, *x.shape[1:])
    if native and BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.gather(x, ids)
    return ops.take(x, ids, axis=0)


def first_not_less(ordered, x, native=True):
    """Where `x` (R,Q) would go into ascending rows (R,K), int32 in 0..K.

    XLA in TensorFlow compares every entry with every other in
    `ops.searchsorted` (2.21), and it takes one row only.
    https://keras.io/api/ops/numpy/#searchsorted-function
    """
    if native and _on_torch():
        import torch

        return torch.searchsorted(
            ordered.contiguous(), x.contiguous(), out_int32=True
        )
    length = int(ordered.shape[-1])
    entries = ops.reshape(ordered, (-1,))
    row = ops.arange(ops.shape(ordered)[0], dtype="int32")[:, None] * length
    steps = length.bit_length()

    def halve(i, found):
        # A shift by a tensor: `i` is one where the loop is compiled.
        step = ops.right_shift(ops.full((), 2 ** (steps - 1), "int32"), i)
        probe = found + step
        last = take(entries, row + ops.minimum(probe, length) - 1, native)
        ahead = ops.logical_and(probe <= length, last < x)
        return ops.where(ahead, probe, found)

    return repeat(steps, halve, ops.zeros_like(x))


def with_capacity(counts, capacities, function, inputs):
    """`function(r, c, *inputs)` for the first `c` that is not below `counts`.

    `capacities` are ascending. Compiled programs have a branch for each; where
    sizes can depend on values what is needed is taken, and in ONNX the last.
    The result has gradients with respect to `inputs`, and nothing else. `r` is
    to be used as `repeat`, with all that has a gradient and is not `x` among
    `constants`.
    """
    needed = ops.max(counts)
    if _sizes_depend_on_values():
        return function(repeat, max(1, int(needed)), *inputs)
    if BACKEND == "torch":
        return function(repeat, _capacity(needed, capacities), *inputs)
    if BACKEND == "tensorflow":
        return _differentiable_branches(needed, capacities, function, inputs)
    return _branch(needed, capacities, lambda c: function(repeat, c, *inputs))


def _capacity(needed, capacities):
    """What is needed, as a size in a program that torch exports.

    Two at least: what may be one is written down as one. In ONNX a search is
    written out, for a number that is known.
    https://docs.pytorch.org/docs/stable/export.html
    """
    if exported_to_onnx():
        return capacities[-1]
    import torch

    capacity = ops.maximum(needed, 2).item()
    torch._check(capacity >= 2)
    torch._check(capacity <= capacities[-1])
    return capacity


def _sizes_depend_on_values():
    if BACKEND != "tensorflow":
        return BACKEND == "torch" and not exported()
    import tensorflow as tf

    return tf.executing_eagerly()


def _branch(needed, capacities, function):
    first, *others = capacities
    if not others:
        return function(first)
    return ops.cond(
        needed <= first,
        lambda: function(first),
        lambda: _branch(needed, others, function),
    )


def _differentiable_branches(needed, capacities, function, inputs):
    """On TensorFlow, with gradients that are taken inside of the branches.

    XLA cannot hand from branch to branch what has an unknown size (2.21), so
    nothing is handed over: the branch of the gradient computes it again.
    https://www.tensorflow.org/xla/known_issues
    """
    import tensorflow as tf

    @tf.custom_gradient
    def differentiable(*inputs):
        value = _branch(
            needed, capacities, lambda c: function(repeat, c, *inputs)
        )

        def gradient(upstream):
            return _branch(
                needed,
                capacities,
                lambda c: _gradients(
                    lambda *inputs: function(_repeat_with_gradient, c, *inputs),
                    inputs,
                    upstream,
                ),
            )

        return value, gradient

    # A variable would have to have its gradient by another way.
    return differentiable(*map(tf.convert_to_tensor, inputs))


def _gradients(function, inputs, upstream):
    """Of `function(*inputs)` times `upstream`, on TensorFlow, one per input."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    return tape.gradient(
        value,
        inputs,
        upstream,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )


class Interpolation:
    """Sums between P points and M vertices, S slots of R = M / S vertices.

    Point p has one vertex in each slot s, `ids[s, p]` in 0..R-1, with
    `weights[s, p]`. Row s R + r of the values is vertex r of slot s.

    `arrays` are what depends on the image; both methods are given them.
    """

    def __init__(self, ids, weights, num_rows, native=True):
        self._num_rows = num_rows
        self._slots = ids.shape[0]
        self._native = native
        self.arrays = ids, weights
        self._in_bags = native and _on_torch()
        if self._in_bags:
            self.arrays = self._bags(ids, weights)

    def _bags(self, ids, weights):
        """The vertices of each point in one list, and the other way round.

        A sum over each part of a list is ten times as fast as adding row by
        row, and sorting small integers is cheap.
        https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html
        """
        import torch

        slots = torch.arange(self._slots, dtype=torch.int32, device=ids.device)
        ids = (ids.T + slots * self._num_rows).reshape(-1)
        weights = weights.T.reshape(-1)
        starts = torch.arange(
            0, ids.shape[0], self._slots, dtype=torch.int32, device=ids.device
        )
        ordered, order = torch.sort(ids)
        vertices = torch.arange(
            self._num_rows * self._slots, dtype=torch.int32, device=ids.device
        )
        first = torch.searchsorted(ordered, vertices, out_int32=True)
        of_points = ids, starts, weights
        of_vertices = (order // self._slots).int(), first, weights[order]
        return of_points, of_vertices

    def splat(self, x, arrays):
        """Values of the vertices (M,C) from those of the points (P,C)."""
        if self._in_bags:
            return _sum_bags(x, *arrays[1])

        def splat_slot(arrays):
            ids, weights = arrays
            return ops.segment_sum(weights[:, None] * x, ids, self._num_rows)

        # As a loop: XLA on a CPU takes six times as long for the same sums
        # where they are not in one (jax 0.10).
        values = ops.map(splat_slot, arrays)
        return ops.reshape(values, (-1, x.shape[-1]))

    def slice(self, values, arrays):
        """Values of the points (P,C) from those of the vertices (M,C)."""
        if self._in_bags:
            return _sum_bags(values, *arrays[0])
        total = 0.0
        for slot in range(self._slots):
            ids, weights = arrays[0][slot], arrays[1][slot]
            rows = take(values, ids + slot * self._num_rows, self._native)
            total = total + weights[:, None] * rows
        return total


def _sum_bags(x, ids, starts, weights):
    """Weighted sums of rows of `x`, each from its start to the next one."""
    import torch

    return torch.nn.functional.embedding_bag(
        ids, x.contiguous(), starts, mode="sum", per_sample_weights=weights
    )
