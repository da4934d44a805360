"""Structure-aware segmentation losses for Keras 3."""

from keras_rmi import callbacks, layers, losses, ops
from keras_rmi.losses import (
    AffinityFieldLoss,
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
    "PyramidLoss",
    "RMILoss",
    "SigmoidCrossentropy",
    "SoftmaxCrossentropy",
    "__version__",
    "affinity_field_loss",
    "callbacks",
    "layers",
    "losses",
    "ops",
    "pyramid_loss",
    "rmi_loss",
    "sigmoid_crossentropy",
    "softmax_crossentropy",
]
