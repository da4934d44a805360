"""Metrics: what a network has learnt of the structure of the labels."""

from keras_rmi.metrics.mutual_information import RegionMutualInformation

__all__ = ["RegionMutualInformation"]
