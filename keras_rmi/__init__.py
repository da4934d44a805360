"""Structure-aware segmentation losses for Keras 3."""

from keras_rmi import callbacks, layers, losses, ops
from keras_rmi.losses import RMILoss, rmi_loss

__version__ = "0.1.0"

__all__ = [
    "RMILoss",
    "__version__",
    "callbacks",
    "layers",
    "losses",
    "ops",
    "rmi_loss",
]
