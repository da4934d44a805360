"""Structure-aware segmentation losses for Keras 3."""

from keras_rmi import callbacks, layers, losses, metrics, ops
from keras_rmi.losses import (
    AffinityFieldLoss,
    CompositeLoss,
    PyramidLoss,
    RMILoss,
    SigmoidCrossentropy,
    SoftmaxCrossentropy,
    affinity_field_loss,
    pyramid_loss,
    rmi_loss,
    sigmoid_crossentropy,
    softmax_crossentropy,
)

__version__ = "0.1.0"

__all__ = [
    "AffinityFieldLoss",
    "CompositeLoss",
    "PyramidLoss",
    "RMILoss",
    "SigmoidCrossentropy",
    "SoftmaxCrossentropy",
    "__version__",
    "affinity_field_loss",
    "callbacks",
    "layers",
    "losses",
    "metrics",
    "ops",
    "pyramid_loss",
    "rmi_loss",
    "sigmoid_crossentropy",
    "softmax_crossentropy",
]
