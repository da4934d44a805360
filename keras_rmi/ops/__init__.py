"""Stateless functions on maps."""

from keras_rmi.ops.mutual_information import region_mutual_information

__all__ = ["region_mutual_information"]
