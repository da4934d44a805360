"""Structure-aware segmentation losses for Keras 3."""

from keras_rmi import layers, losses, metrics, ops
from keras_rmi.losses import RMILoss, rmi_loss

__version__ = "0.1.0"

__all__ = [
    "RMILoss",
    "__version__",
    "layers",
    "losses",
    "metrics",
    "ops",
    "rmi_loss",
]
