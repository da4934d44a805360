"""Calls of a user, for a type checker: those that are wrong are marked.

It runs in scripts/check_package.py, on the installed package. A mark that is
not needed is an error too, so the checker is seen to see.
"""

import numpy as np

import keras_rmi
from keras_rmi.callbacks import LossWeightSchedule
from keras_rmi.layers import AverageDownsampling2D, DenseCRF, RegionVectors2D
from keras_rmi.metrics import RegionMutualInformation

loss = keras_rmi.RMILoss(
    radius=(3, 5),
    pooling=None,
    ignore_class=(0, 255),
    class_weights=np.ones(3),
    reduction=None,
    dtype="float16",
)
keras_rmi.RMILoss(pool_size=4, class_weights=[1, 2.5], axis=1)
keras_rmi.AffinityFieldLoss(sizes=(1, 2))
keras_rmi.PyramidLoss(scales=[0.5, 1])
keras_rmi.FocalLoss(gamma=2, alpha=None, activation="sigmoid")
keras_rmi.TverskyLoss(alpha=0.3, beta=0.7, classes="all")
parts = keras_rmi.CompositeLoss({"rmi": (loss, 0.5), "dice": loss})
parts.part_metrics(prefix="val")
LossWeightSchedule(parts, "rmi_weight", lambda epoch: epoch / 5)
AverageDownsampling2D(3, data_format="channels_first", name="small")
RegionVectors2D(radius=3)
RegionMutualInformation(21, radius=3)
DenseCRF(5, bilateral_sxy=(67, 60.5), gaussian_compat=np.eye(3), name="crf")
maps = np.zeros((1, 9, 9), "uint8"), np.zeros((1, 9, 9, 2))
keras_rmi.rmi_loss(*maps, radius=2, pooling="max")

keras_rmi.RMILoss(radius=3.5)  # type: ignore[arg-type]
keras_rmi.RMILoss(pooling="average")  # type: ignore[arg-type]
keras_rmi.RMILoss(ignore_class="void")  # type: ignore[arg-type]
keras_rmi.RMILoss(raduis=3)  # type: ignore[call-arg]
keras_rmi.DiceLoss(classes="some")  # type: ignore[arg-type]
keras_rmi.rmi_loss(*maps, axis=2)  # type: ignore[arg-type]
DenseCRF(gaussian_normalization="both")  # type: ignore[arg-type]
AverageDownsampling2D("3")  # type: ignore[arg-type]
