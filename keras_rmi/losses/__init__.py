"""Losses: a class for `compile`, a function for values per image."""

from keras_rmi.losses.affinity import AffinityFieldLoss, affinity_field_loss
from keras_rmi.losses.composite import CompositeLoss
from keras_rmi.losses.focal import FocalLoss, focal_loss
from keras_rmi.losses.lovasz import (
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
)
from keras_rmi.losses.overlap import (
    DiceLoss,
    JaccardLoss,
    dice_loss,
    jaccard_loss,
)
from keras_rmi.losses.pixelwise import (
    SigmoidCrossentropy,
    SoftmaxCrossentropy,
    sigmoid_crossentropy,
    softmax_crossentropy,
)
from keras_rmi.losses.pyramid import PyramidLoss, pyramid_loss
from keras_rmi.losses.rmi import RMILoss, rmi_loss
from keras_rmi.losses.tversky import TverskyLoss, tversky_loss

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
    "affinity_field_loss",
    "dice_loss",
    "focal_loss",
    "jaccard_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "pyramid_loss",
    "rmi_loss",
    "sigmoid_crossentropy",
    "softmax_crossentropy",
    "tversky_loss",
]
