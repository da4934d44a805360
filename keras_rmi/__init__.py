"""Structure-aware segmentation losses for Keras 3."""

# First what says which framework is missing, if one is.
from keras_rmi import _backend_choice as _backend_choice
from keras_rmi import callbacks, layers, losses, metrics, ops
from keras_rmi.losses import (
    AffinityFieldLoss,
    CompositeLoss,
    DiceLoss,
    FocalLoss,
    JaccardLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    PyramidLoss,
    RMILoss,
    SigmoidCrossentropy,
    SoftmaxCrossentropy,
    TverskyLoss,
    affinity_field_loss,
    dice_loss,
    focal_loss,
    jaccard_loss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
    pyramid_loss,
    rmi_loss,
    sigmoid_crossentropy,
    softmax_crossentropy,
    tversky_loss,
)

__version__ = "0.1.0"

__all__ = [
    "AffinityFieldLoss",
    "CompositeLoss",
    "DiceLoss",
    "FocalLoss",
    "JaccardLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "PyramidLoss",
    "RMILoss",
    "SigmoidCrossentropy",
    "SoftmaxCrossentropy",
    "TverskyLoss",
    "__version__",
    "affinity_field_loss",
    "callbacks",
    "dice_loss",
    "focal_loss",
    "jaccard_loss",
    "layers",
    "losses",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "metrics",
    "ops",
    "pyramid_loss",
    "rmi_loss",
    "sigmoid_crossentropy",
    "softmax_crossentropy",
    "tversky_loss",
]
