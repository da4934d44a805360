"""Losses: a class for `compile`, a function for values per image."""

from keras_rmi.losses.composite import CompositeLoss
from keras_rmi.losses.pixelwise import (
    SigmoidCrossentropy,
    SoftmaxCrossentropy,
    sigmoid_crossentropy,
    softmax_crossentropy,
)
from keras_rmi.losses.rmi import RMILoss, rmi_loss

__all__ = [
    "CompositeLoss",
    "RMILoss",
    "SigmoidCrossentropy",
    "SoftmaxCrossentropy",
    "rmi_loss",
    "sigmoid_crossentropy",
    "softmax_crossentropy",
]
