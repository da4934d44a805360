"""Layers that share their implementation with the losses."""

from keras_rmi.layers.affinity_weights import AffinityFieldWeights
from keras_rmi.layers.dense_crf import DenseCRF
from keras_rmi.layers.downsampling import (
    AverageDownsampling2D,
    InterpolationDownsampling2D,
    MaxDownsampling2D,
)
from keras_rmi.layers.region_vectors import RegionVectors2D

__all__ = [
    "AffinityFieldWeights",
    "AverageDownsampling2D",
    "DenseCRF",
    "InterpolationDownsampling2D",
    "MaxDownsampling2D",
    "RegionVectors2D",
]
