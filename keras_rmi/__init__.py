"""Structure-aware segmentation losses for Keras 3."""

from keras_rmi import layers, losses, ops
from keras_rmi.losses import (
    DiceLoss,
    FocalLoss,
    JaccardLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    RMILoss,
    SigmoidCrossentropy,
    SoftmaxCrossentropy,
    TverskyLoss,
    dice_loss,
    focal_loss,
    jaccard_loss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
    rmi_loss,
    sigmoid_crossentropy,
    softmax_crossentropy,
    tversky_loss,
)

__version__ = "0.1.0"

__all__ = [
    "DiceLoss",
    "FocalLoss",
    "JaccardLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "RMILoss",
    "SigmoidCrossentropy",
    "SoftmaxCrossentropy",
    "TverskyLoss",
    "__version__",
    "dice_loss",
    "focal_loss",
    "jaccard_loss",
    "layers",
    "losses",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "ops",
    "rmi_loss",
    "sigmoid_crossentropy",
    "softmax_crossentropy",
    "tversky_loss",
]
