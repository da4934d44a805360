"""Losses: a class for `compile`, a function for values per image."""

from keras_rmi.losses.affinity import AffinityFieldLoss, affinity_field_loss
from keras_rmi.losses.composite import CompositeLoss
from keras_rmi.losses.pixelwise import (
    SigmoidCrossentropy,
    SoftmaxCrossentropy,
    sigmoid_crossentropy,
    softmax_crossentropy,
)
from keras_rmi.losses.pyramid import PyramidLoss, pyramid_loss
from keras_rmi.losses.rmi import RMILoss, rmi_loss

__all__ = [
    "AffinityFieldLoss",
    "CompositeLoss",
    "PyramidLoss",
    "RMILoss",
    "SigmoidCrossentropy",
    "SoftmaxCrossentropy",
    "affinity_field_loss",
    "pyramid_loss",
    "rmi_loss",
    "sigmoid_crossentropy",
    "softmax_crossentropy",
]
