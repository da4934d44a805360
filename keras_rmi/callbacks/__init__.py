"""Callbacks that change a loss during training."""

from keras_rmi.callbacks.loss_weight import LossWeightSchedule

__all__ = ["LossWeightSchedule"]
