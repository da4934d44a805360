"""One pass over the predictions for the pixel and the region term.

Both terms read the same full-resolution map, so they share one function with
one gradient of its own. Nothing of full resolution is kept or written but the
gradient: forward, the pixel loss is summed and the probabilities are pooled
as they are made; backward, the map is read once more.

    x            (N,H,W,C)     predictions, read in blocks of r rows
    pixels       (N,r*W,C)     the pixels of a block in a list
    pixel        (N,)          weighted sums of the pixel loss
    P, Y         (N*C,h,w)     pooled probabilities and labels, planes
    region       (N*C,)        value of the statistics
    dP           (N*C,h,w)     their gradient, made in the backward pass
    spread dP    (N,m,q,W,C)   for a block of m windows: q = 1 stands for all
                               rows of a window; otherwise m * q = r
    dx           (N,m,r/m,W,C) from x, the labels and dP, written once

On torch a block is what stays in a core's cache. Under XLA it is the whole
image, and what is pooled, summed and differentiated are different expressions
of x: slices, a list and windows. Were they the same, XLA would compute the
activation once, and write it to memory: slower than computing it again.
"""

from keras import ops

from keras_rmi import _backend, _backend_blocks, _backend_gradients
from keras_rmi.ops.downsampling import (
    InterpolationDownsampling,
    WindowDownsampling,
)
from keras_rmi.ops.statistics import region_statistics
from keras_rmi.ops.weights import not_zero


def pixel_and_region_loss(
    x, labels, reading, pixel_share, region=None, class_weights=None
):
    """`pixel_share * pixel + region.share * rmi`, one value per image (N,).

    `region` is a `RegionTerm` or None; a `pixel_share` of 0 is not computed.
    Only `x` has a gradient: labels and weights are constants.
    """

    def compute(x, labels, reading, class_weights):
        return _Objective(labels, reading, pixel_share, region, class_weights)(
            x
        )

    arrays = (labels, reading, class_weights)
    return _backend_gradients.custom_gradient(compute, x, arrays)


class RegionTerm:
    """Options of the region half: down-sampling of labels and predictions."""

    def __init__(self, share, radius, epsilon, for_labels, for_predictions):
        self.share = share
        self.radius = radius
        self.epsilon = epsilon
        self.for_labels = for_labels
        self.for_predictions = for_predictions


class _Objective:
    """Value and gradient for the arguments of `pixel_and_region_loss`."""

    def __init__(self, labels, reading, pixel_share, region, class_weights):
        self.labels = labels
        self.reading = reading
        self.pixel_share = pixel_share
        self.region = region
        self.class_weights = class_weights

    def __call__(self, x):
        """Value (N,) and the function that gives its gradient."""
        value = scale = statistics = None
        pixel_sums, pooled = self._forward(x)
        if self.pixel_share:
            total = ops.sum(self.labels.weight, axis=(1, 2))
            # An image without weight contributes nothing.
            scale = self.pixel_share / not_zero(total)
            scale = _backend.where(total != 0.0, scale, 0.0)
            value = scale * pixel_sums
        if self.region is not None:
            rmi, statistics = self._statistics(pooled)
            value = rmi if value is None else value + rmi
            if self.region.for_predictions.average:
                pooled = None  # only a maximum looks at it again

        def gradient(upstream):
            return self._backward(x, upstream, scale, pooled, statistics)

        return value, gradient

    def _forward(self, x):
        """Sums of the pixel loss (N,) and pooled probabilities (N,h,w,C)."""
        pixel_sums, pooled = [], []
        windows = self._windows()
        if self.pixel_share or windows is not None:
            for start, stop in self._row_blocks(x):
                block = self._block(x, start, stop)
                labels = self.labels.rows(start, stop)
                if self.pixel_share:
                    pixel_sums.append(self._pixel_sum(block, labels))
                if windows is not None:
                    last = stop is None or stop == x.shape[1]
                    maps = (block, labels.valid)
                    pooled.append(
                        windows.reduce(
                            self._probabilities, maps, start == 0, last
                        )
                    )
        if windows is not None:
            pooled = _backend.concatenate(pooled, axis=1)
        elif self.region is not None:
            # Few pixels are needed: all at once.
            block = self._block(x, 0, None)
            pooled = self.region.for_predictions(
                self._probabilities(block, self.labels.valid)
            )
        return sum(pixel_sums), pooled

    def _pixel_sum(self, block, labels):
        """Weighted sums (N,) of the pixel loss in these rows."""
        pixels = labels.reshaped((-1,))
        n, *_, channels = ops.shape(block)
        block = _backend.reshape(block, (n, -1, channels))
        loss = self.reading.pixel_loss(block, pixels) * pixels.weight
        # By rows first: XLA adds one after the other.
        loss = _backend.reshape(loss, ops.shape(labels.weight))
        return ops.sum(ops.sum(loss, axis=-1), axis=-1)

    def _probabilities(self, block, valid):
        """What is pooled: probabilities, zero where void.

        The published code adds 1e-6, of which centring leaves nothing.
        """
        return self.reading.probabilities(block) * valid[..., None]

    def _statistics(self, pooled):
        """Region value (N,), class weights included, and its gradient."""
        region = self.region
        n, height, width, channels = ops.shape(pooled)

        def planes(x):
            x = ops.transpose(x, (0, 3, 1, 2))
            return _backend.reshape(x, (n * channels, height, width))

        values, gradients = region_statistics(
            planes(self.labels.downsampled(region.for_labels)),
            planes(pooled),
            region.radius,
            region.epsilon,
        )
        values = _backend.reshape(values, (n, channels))
        if self.class_weights is not None:
            values = self.class_weights * values

        def cotangent(upstream):
            """(N,h,w,C): derivative with respect to `pooled`."""
            weight = (region.share * upstream)[:, None]
            if self.class_weights is not None:
                weight = self.class_weights * weight
            (derivative,) = gradients()
            shape = (n, channels, height, width)
            derivative = _backend.reshape(derivative, shape)
            derivative = derivative * weight[..., None, None]
            return ops.transpose(derivative, (0, 2, 3, 1))

        return region.share * ops.sum(values, axis=-1), cotangent

    def _backward(self, x, upstream, scale, pooled, statistics):
        """Derivative with respect to `x`, block by block of its rows."""
        upstream = ops.cast(upstream, "float32")
        spread = None
        if statistics is not None:
            spread = self.region.for_predictions.spread(
                statistics(upstream), pooled, ops.shape(x)[1:3]
            )
        if scale is not None:
            scale = (scale * upstream)[:, None, None, None]

        def rows(start, stop):
            block = self._block(x, start, stop)
            labels = self.labels.rows(start, stop)
            valid = labels.valid
            slope = cotangent = None
            fold = (1, -1)
            if spread is not None:
                cotangent = spread(
                    start, stop, lambda: self._probabilities(block, valid)
                )
                fold = (ops.shape(cotangent)[1], -1)
            n, _, width, channels = ops.shape(block)
            labels = labels.reshaped((*fold, width))
            if scale is not None:
                slope = ops.expand_dims(scale * labels.weight, axis=-1)
            if spread is not None:
                cotangent = cotangent * labels.valid[..., None]
            gradient = self.reading.gradient(
                _backend.reshape(block, (n, *fold, width, channels)),
                labels,
                slope,
                cotangent,
            )
            return ops.cast(
                _backend.reshape(gradient, ops.shape(block)), x.dtype
            )

        return _backend_blocks.assemble(
            rows, self._row_blocks(x), axis=1, size=x.shape[1]
        )

    def _block(self, x, start, stop):
        """Rows of the predictions in float32."""
        return ops.cast(x[:, start:stop], "float32")

    def _windows(self):
        """The down-sampling of predictions, if it works on whole windows."""
        pool = None if self.region is None else self.region.for_predictions
        return None if isinstance(pool, InterpolationDownsampling) else pool

    def _row_blocks(self, x):
        n, height, width, channels = x.shape
        windows = self._windows() or WindowDownsampling((1, 1))
        bytes_per_row = 4 * (n or 1) * (width or 1) * channels
        return windows.row_blocks(height, bytes_per_row, x)
