"""Searches and sums by index: like `_backend`, a file that names backends.

Everything here has one meaning on all backends. The branches are the native
primitives of a framework; the rest is the plain form in `keras.ops`, which
every backend runs when `native` is False and the tests compare with.
"""

import keras
from keras import ops

_BACKEND = keras.backend.backend()


def repeat(count, function, x):
    """`x` after `count` times `x = function(i, x)`.

    Reverse-mode derivatives under XLA need a bound of the number of turns,
    which `keras.ops.fori_loop` does not hand on to TensorFlow (3.15).
    https://www.tensorflow.org/xla/known_issues
    """
    if _BACKEND != "tensorflow":
        return ops.fori_loop(0, count, function, x)
    import tensorflow as tf

    return tf.while_loop(
        lambda i, x: i < count,
        lambda i, x: (i + 1, function(i, x)),
        (0, x),
        maximum_iterations=count,
    )[1]


def take(x, ids, native=True):
    """Rows of `x` at `ids`, which are int32 and in range.

    `keras.ops.take` looks for negative and too large ids first, on every
    backend, which takes as long as the rest.
    """
    if native and _BACKEND == "jax":
        return x.at[ids].get(mode="promise_in_bounds")
    if native and _BACKEND == "torch":
        taken = x.index_select(0, ids.reshape(-1))
        return taken.reshape(*ids.shape, *x.shape[1:])
    if native and _BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.gather(x, ids)
    return ops.take(x, ids, axis=0)


def first_not_less(ordered, x, native=True):
    """Where `x` (R,Q) would go into ascending rows (R,K), int32 in 0..K.

    XLA in TensorFlow compares every entry with every other in
    `ops.searchsorted` (2.21), and it takes one row only.
    https://keras.io/api/ops/numpy/#searchsorted-function
    """
    if native and _BACKEND == "torch":
        import torch

        return torch.searchsorted(
            ordered.contiguous(), x.contiguous(), out_int32=True
        )
    length = ordered.shape[-1]
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


def with_capacity(counts, capacities, function):
    """`function(c)` for the first of the ascending `c` that holds `counts`.

    Compiled programs have one branch for each capacity. Torch has sizes that
    depend on values, and takes what is needed.
    """
    needed = ops.max(counts)
    if _BACKEND == "torch":
        return function(max(1, int(needed)))
    if len(capacities) == 1:
        return function(capacities[0])
    return ops.cond(
        needed <= capacities[0],
        lambda: function(capacities[0]),
        lambda: with_capacity(counts, capacities[1:], function),
    )


class Interpolation:
    """Sums between P points and M vertices, S slots of R = M / S vertices.

    Point p has one vertex in each slot s, `ids[s, p]` in 0..R-1, with
    `weights[s, p]`. Row s R + r of the values is vertex r of slot s.
    """

    def __init__(self, ids, weights, num_rows, native=True):
        self._ids, self._weights, self._num_rows = ids, weights, num_rows
        self._slots = ids.shape[0]
        self._native = native
        if native and _BACKEND == "torch":
            self._sort()

    def _sort(self):
        """The points of each vertex, in one list.

        A sum over each part of a list is ten times as fast as adding row by
        row, and sorting small integers is cheap.
        https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html
        """
        import torch

        slots = torch.arange(self._slots, dtype=torch.int32)
        slots = slots.to(self._ids.device) * self._num_rows
        ids = (self._ids.T + slots).reshape(-1)
        weights = self._weights.T.reshape(-1)
        count = torch.bincount(ids, minlength=self._num_rows * self._slots)
        order = torch.sort(ids)[1]
        starts = torch.arange(0, len(ids), self._slots, dtype=torch.int32)
        self._of_points = ids, starts.to(ids.device), weights
        self._of_vertices = (
            (order // self._slots).int(),
            (torch.cumsum(count, 0) - count).int(),
            weights[order],
        )

    def splat(self, x):
        """Values of the vertices (M,C) from those of the points (P,C)."""
        if self._native and _BACKEND == "torch":
            return _sum_bags(x, *self._of_vertices)
        def splat_slot(arrays):
            ids, weights = arrays
            return ops.segment_sum(weights[:, None] * x, ids, self._num_rows)

        # As a loop: XLA on a CPU takes six times as long for the same sums
        # where they are not in one (jax 0.10).
        values = ops.map(splat_slot, (self._ids, self._weights))
        return ops.reshape(values, (-1, x.shape[-1]))

    def slice(self, values):
        """Values of the points (P,C) from those of the vertices (M,C)."""
        if self._native and _BACKEND == "torch":
            return _sum_bags(values, *self._of_points)
        total = 0.0
        for slot in range(self._slots):
            ids = self._ids[slot] + slot * self._num_rows
            rows = take(values, ids, self._native)
            total = total + self._weights[slot][:, None] * rows
        return total


def _sum_bags(x, ids, starts, weights):
    """Weighted sums of rows of `x`, each from its start to the next one."""
    import torch

    return torch.nn.functional.embedding_bag(
        ids, x.contiguous(), starts, mode="sum", per_sample_weights=weights
    )
