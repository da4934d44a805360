"""Structure-aware segmentation losses for Keras 3."""

from keras_rmi import callbacks, layers, losses, metrics, ops
from keras_rmi.losses import (
    CompositeLoss,
    RMILoss,
    SigmoidCrossentropy,
    SoftmaxCrossentropy,
    rmi_loss,
    sigmoid_crossentropy,
    softmax_crossentropy,
)

__version__ = "0.1.0"

__all__ = [
    "CompositeLoss",
    "RMILoss",
    "SigmoidCrossentropy",
    "SoftmaxCrossentropy",
    "__version__",
    "callbacks",
    "layers",
    "losses",
    "metrics",
    "ops",
    "rmi_loss",
    "sigmoid_crossentropy",
    "softmax_crossentropy",
]
