"""Focal cross entropies as readings of logits.

Like those of `keras_rmi.ops.predictions`, but for the pixel loss only. Their
gradients are written out: automatic differentiation of a power is infinite
where a pixel is certainly right.
"""

from keras import ops

from keras_rmi import _backend
from keras_rmi._backend_gradients import holds_arrays

_TINY = 1e-30


@holds_arrays("class_weights")
class SigmoidFocal:
    """loss = sum_c w_c a_c m_c^gamma h_c.

    With h the cross entropy, m = y (1 - p) + (1 - y) p how far p misses y,
    and a = alpha y + (1 - alpha) (1 - y), or 1 without an alpha.
    """

    def __init__(self, gamma, alpha, class_weights):
        self.gamma = gamma
        self.alpha = alpha
        self.class_weights = class_weights

    def pixel_loss(self, x, labels):
        truth = labels.dense()
        p, q = ops.sigmoid(x), ops.sigmoid(-x)
        miss = truth * q + (1.0 - truth) * p
        loss = miss**self.gamma * self._entropy(x, truth)
        return ops.sum(self._weight(loss, truth), axis=-1)

    def gradient(self, x, labels, scale, cotangent):
        truth = labels.dense()
        p, q = ops.sigmoid(x), ops.sigmoid(-x)
        miss = truth * q + (1.0 - truth) * p
        # d ln m / dx, in [-1, 1] also where m underflows.
        rate = (1.0 - 2.0 * truth) * p * q / _at_least_tiny(miss)
        slope = p - truth + self.gamma * rate * self._entropy(x, truth)
        slope = miss**self.gamma * slope
        return scale * self._weight(slope, truth)

    def _entropy(self, x, truth):
        softplus = ops.relu(x) + ops.log1p(ops.exp(-ops.abs(x)))
        return softplus - truth * x

    def _weight(self, x, truth):
        if self.alpha is not None:
            other = 1.0 - self.alpha
            x = x * (other + (self.alpha - other) * truth)
        return x if self.class_weights is None else x * self.class_weights


@holds_arrays("class_weights")
class SoftmaxFocal:
    """loss = -alpha sum_c w_c y_c (1 - p_c)^gamma ln p_c; alpha may be 1."""

    def __init__(self, gamma, alpha, class_weights):
        self.gamma = gamma
        self.alpha = 1.0 if alpha is None else alpha
        self.class_weights = class_weights

    def pixel_loss(self, x, labels):
        logs = _backend.log_softmax(x)
        loss = -((-ops.expm1(logs)) ** self.gamma) * logs
        return labels.pick(self._weight(loss))

    def gradient(self, x, labels, scale, cotangent):
        logs = _backend.log_softmax(x)
        p, miss = ops.exp(logs), -ops.expm1(logs)
        # -ln p / (1 - p), which is 1 at p = 1.
        ratio = -logs / _at_least_tiny(miss)
        ratio = _backend.where(miss > 0.0, ratio, 1.0)
        slope = -(miss**self.gamma) * (1.0 + self.gamma * p * ratio)
        slope = labels.dense() * self._weight(slope)
        return scale * (slope - p * ops.sum(slope, axis=-1, keepdims=True))

    def _weight(self, x):
        x = self.alpha * x
        return x if self.class_weights is None else x * self.class_weights


def _at_least_tiny(x):
    return ops.maximum(x, _backend.constant(_TINY, x))
