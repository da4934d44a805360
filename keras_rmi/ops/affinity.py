"""Relations of neighbouring pixels in a prediction, compared with the labels.

For every class a pixel is a coin with probability p = sigmoid(z). Of two
neighbours i and j, the divergence of the coins is

    D_ji = KL(p_j || p_i) = p_j (ln p_j - ln p_i) + q_j (ln q_j - ln q_i)

with q = 1 - p, and its derivatives are

    dD_ji / dz_j = p_j q_j (z_j - z_i),    dD_ji / dz_i = p_i - p_j

so nothing but `z` has to be kept. Each of the 8 neighbours of a pixel is seen
from both ends: four offsets, each with D_ji and D_ij, are all ordered pairs.
"""

from keras import ops

from keras_rmi import _backend, _backend_gradients
from keras_rmi.ops.overlap import over_pixels
from keras_rmi.ops.predictions import clip_probabilities

# A logit of probability 0; infinity has no difference to itself.
_LARGE = 1e30


def affinity_terms(z, on, valid, sizes, margin):
    """What pairs of pixels cost, (N,S,2,C): edges first, then the others.

    `z` (N,H,W,C) are the logits of the coins, `on` (N,H,W,C) tells whether a
    pixel is of a class, `valid` (N,H,W) whether it counts. The sum over the
    classes is the mean over all pairs of a kind, at the distance of each of
    the S `sizes`; over no pairs it is 0. Only `z` has a gradient.
    """

    def compute(z, on, valid):
        return _Affinity(on, valid, sizes, margin)(z)

    return _backend_gradients.custom_gradient(compute, z, (on, valid))


class _Affinity:
    """Terms and gradient for the arguments of `affinity_terms`."""

    def __init__(self, on, valid, sizes, margin):
        self.on = on
        self.valid = valid[..., None]
        self.sizes = sizes
        self.margin = margin

    def __call__(self, z):
        logs = _logarithms(z)
        terms, counts = zip(*(self._terms(logs, size) for size in self.sizes))

        def gradient(upstream):
            return self._gradient(z, ops.cast(upstream, "float32"), counts)

        return ops.stack(terms, axis=1), gradient

    def _terms(self, logs, size):
        """Terms (N,2,C) at one distance, and the numbers of pairs (N,2,1)."""
        sums, counts = [0.0, 0.0], [0.0, 0.0]
        for offset in _offsets(size):
            forth, back = _divergences(logs, offset)
            apart = ops.relu(self.margin - forth)
            apart = apart + ops.relu(self.margin - back)
            for kind, (here, cost) in enumerate(
                zip(self._kinds(offset), (apart, forth + back))
            ):
                cost = over_pixels(_backend.where(here, cost, 0.0))
                sums[kind] = sums[kind] + cost
                # A pair is seen from both of its ends.
                count = 2.0 * over_pixels(ops.cast(here, "float32"))
                counts[kind] = counts[kind] + count
        count = ops.sum(ops.stack(counts, axis=1), axis=-1, keepdims=True)
        count = ops.maximum(count, _backend.constant(1.0, count))
        return ops.stack(sums, axis=1) / count, count

    def _gradient(self, z, upstream, counts):
        logs = _logarithms(z)
        p, q = logs[:2]
        total = ops.zeros_like(z)
        for index, size in enumerate(self.sizes):
            slope = (upstream[:, index] / counts[index])[:, :, None, None]
            for offset in _offsets(size):
                edge, rest = self._kinds(offset)
                forth, back = (
                    ops.where(
                        ops.logical_and(edge, divergence < self.margin),
                        -slope[:, 0],
                        _backend.where(rest, slope[:, 1], 0.0),
                    )
                    for divergence in _divergences(logs, offset)
                )
                (z_i, z_j), (p_i, p_j), (q_i, q_j) = (
                    _pair(x, offset) for x in (z, p, q)
                )
                rise = z_j - z_i
                # Of the small numbers: the difference of large ones is lost.
                change = ops.where(z_i + z_j > 0, q_i - q_j, p_j - p_i)
                at_j = forth * (p_j * q_j * rise) + back * change
                at_i = forth * change + back * (p_i * q_i * rise)
                total = total + _spread(-at_i, at_j, offset)
        return total

    def _kinds(self, offset):
        """Which pairs are edges, and which are not, (N,h,w,C) of bool."""
        on_i, on_j = _pair(self.on, offset)
        valid = ops.logical_and(*_pair(self.valid, offset))
        edge = ops.logical_xor(on_i, on_j)
        return (
            ops.logical_and(valid, edge),
            ops.logical_and(valid, ops.logical_not(edge)),
        )


def _offsets(size):
    """Half of the 8 neighbours, as (rows, columns)."""
    return (0, size), (size, -size), (size, 0), (size, size)


def _pair(x, offset):
    """Both ends i and j of all pairs at an offset: two maps (N,h,w,...)."""
    rows, columns = offset
    i, j = x[:, : -rows or None], x[:, rows:]
    if columns < 0:
        return i[:, :, -columns:], j[:, :, :columns]
    return i[:, :, : -columns or None], j[:, :, columns:]


def _spread(at_i, at_j, offset):
    """Adjoint of `_pair`: (N,H,W,C)."""
    rows, columns = offset
    left, right = max(columns, 0), max(-columns, 0)
    at_i = _backend.pad(at_i, [(0, 0), (0, rows), (right, left), (0, 0)])
    at_j = _backend.pad(at_j, [(0, 0), (rows, 0), (left, right), (0, 0)])
    return at_i + at_j


def _logarithms(z):
    """p, q, ln p and ln q, without cancellation."""
    tail = ops.log1p(ops.exp(-ops.abs(z)))
    return (
        ops.sigmoid(z),
        ops.sigmoid(-z),
        -ops.relu(-z) - tail,
        -ops.relu(z) - tail,
    )


def _divergences(logs, offset):
    """D_ji and D_ij of all pairs."""
    (p_i, p_j), (q_i, q_j), (lp_i, lp_j), (lq_i, lq_j) = (
        _pair(x, offset) for x in logs
    )
    on, off = lp_j - lp_i, lq_j - lq_i
    return p_j * on + q_j * off, -(p_i * on + q_i * off)


def coin_logits(x, activation, from_logits):
    """Logits `ln p - ln(1 - p)` of the probabilities p of x (N,H,W,C)."""
    if activation == "sigmoid" and from_logits:
        return x
    if from_logits:
        return x - _log_of_others(x)
    if activation == "softmax":
        x = x / ops.sum(x, axis=-1, keepdims=True)
    x = clip_probabilities(x)
    return ops.log(x) - ops.log(1.0 - x)


def _log_of_others(x):
    """`ln sum_{k != c} exp(x_k)` for each class c, (...,C).

    Above p = 1/2, which one class can be, 1 - p is not computed from p but
    from the other classes.
    """
    total = ops.logsumexp(x, axis=-1, keepdims=True)
    p = ops.exp(x - total)
    leads = p > 0.5
    others = _backend.where(ops.logical_not(leads), x, -_LARGE)
    others = ops.logsumexp(others, axis=-1, keepdims=True)
    rest = total + ops.log1p(-ops.minimum(p, _backend.constant(0.5, p)))
    return ops.where(leads, others, rest)
