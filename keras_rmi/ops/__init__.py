"""Stateless functions on maps."""

from keras_rmi.ops.dense_crf import dense_crf
from keras_rmi.ops.mutual_information import region_mutual_information

__all__ = ["dense_crf", "region_mutual_information"]
