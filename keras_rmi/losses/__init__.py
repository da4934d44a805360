"""Losses: a class for `compile`, a function for values per image."""

from keras_rmi.losses.rmi import RMILoss, rmi_loss

__all__ = ["RMILoss", "rmi_loss"]
