"""The float64 reference of a problem, where it is cheap and well defined."""

import numpy as np

import keras_rmi
from reference import (
    affinity,
    crossentropy,
    focal,
    lovasz,
    overlap,
    pyramid,
    rmi,
)
from stress.contents import ORDINARY

# Predictions that float64 itself gets right, by kind.
_PROBABILITY_MARGIN = 1e-5
# Multiplications of the reference for one content, or pairs of pixels.
_MOST_WORK = 2e7
_MOST_PIXELS = 1500
_SORTED = (keras_rmi.LovaszSoftmaxLoss, keras_rmi.LovaszHingeLoss)


def expected(problem, content):
    """Values (N,) and gradient (N,H,W,C) or None; None without a reference."""
    loss = problem.loss()
    from_logits = problem.options.get("from_logits", True)
    if content.kind not in ORDINARY:
        return None
    if not from_logits:
        margin = _PROBABILITY_MARGIN
        if content.x.min() < margin or content.x.max() > 1 - margin:
            return None
    if _work(problem, loss) > 1:
        return None
    reference = _REFERENCES[type(loss)]
    options = {
        name: value
        for name, value in problem.options.items()
        if name not in ("axis", "reduction", "name")
    }
    result = reference(
        content.y_true,
        content.x,
        sample_weight=content.weights,
        **options,
    )
    if not isinstance(result, tuple):
        return result, None
    values, slopes = result
    # Of equal maxima the reference takes one, the library all.
    if options.get("pooling") == "max" and not _all_differ(content.x):
        slopes = None
    # Of equal errors either comes first, which makes another gradient.
    if isinstance(loss, _SORTED) and content.kind == "clean":
        slopes = None
    return values, slopes


def _all_differ(x):
    """Whether no two predictions of a class are nearly alike."""
    planes = np.sort(np.moveaxis(x, -1, 1).reshape(-1, x[0, ..., 0].size))
    gaps = np.diff(planes, axis=-1)
    return bool(np.all(gaps > 1e-4 * np.abs(planes[:, 1:])))


def _work(problem, loss):
    """Cost of the reference, as a share of what is allowed."""
    count, height, width = problem.size
    pixels = count * height * width
    if isinstance(loss, (keras_rmi.RMILoss, keras_rmi.CompositeLoss)):
        if problem.options.get("rmi_weight") == 0:
            return 0
        radius = np.broadcast_to(problem.options.get("radius", 2), 2)
        entries = (2 * np.prod(radius)) ** 2
        return pixels * problem.num_classes * entries / _MOST_WORK
    if isinstance(loss, keras_rmi.AffinityFieldLoss):
        return pixels / _MOST_PIXELS
    if isinstance(loss, _SORTED):
        return pixels * problem.num_classes / _MOST_PIXELS
    return 0


def _crossentropy(activation):
    def loss(y_true, y_pred, **options):
        return crossentropy.crossentropy(
            y_true, y_pred, activation=activation, **options
        )

    return loss


def _composite(y_true, y_pred, sample_weight):
    """The composite of the table: 2 (RMI / 2 + cross entropy)."""
    common = {
        "sample_weight": sample_weight,
        "from_logits": True,
        "ignore_class": 255,
    }
    structure = {"radius": (1, 2), "pool_size": 2, "rmi_weight": 1.0}
    region, by_region = rmi.rmi_loss(y_true, y_pred, **common, **structure)
    pixel, by_pixel = rmi.rmi_loss(y_true, y_pred, **common, rmi_weight=0.0)
    return region + 2 * pixel, by_region + 2 * by_pixel


_REFERENCES = {
    keras_rmi.RMILoss: rmi.rmi_loss,
    keras_rmi.SigmoidCrossentropy: _crossentropy("sigmoid"),
    keras_rmi.SoftmaxCrossentropy: _crossentropy("softmax"),
    keras_rmi.TverskyLoss: overlap.tversky_loss,
    keras_rmi.DiceLoss: overlap.dice_loss,
    keras_rmi.JaccardLoss: overlap.jaccard_loss,
    keras_rmi.FocalLoss: focal.focal_loss,
    keras_rmi.LovaszSoftmaxLoss: lovasz.lovasz_softmax_loss,
    keras_rmi.LovaszHingeLoss: lovasz.lovasz_hinge_loss,
    keras_rmi.AffinityFieldLoss: affinity.affinity_field_loss,
    keras_rmi.PyramidLoss: pyramid.pyramid_loss,
    keras_rmi.CompositeLoss: _composite,
}
