"""What the region statistics see: maps of labels and of probabilities.

Options and checks that whoever computes region statistics has in common.
"""

from keras_rmi._validation import check_choice, check_pair, message
from keras_rmi.ops.downsampling import (
    InterpolationDownsampling,
    WindowDownsampling,
)


def read_pooling(pooling, pool_size):
    """The down-sampling of labels and that of probabilities."""
    factors = check_pair("pool_size", pool_size)
    check_choice("pooling", pooling, ("avg", "max", "interpolate", None))
    if pooling == "interpolate":
        return (
            InterpolationDownsampling(factors, nearest=True),
            InterpolationDownsampling(factors),
        )
    factors = (1, 1) if pooling is None else factors
    windows = WindowDownsampling(factors, average=pooling != "max")
    return windows, windows


def check_region_fits(region, downsampling, size, radius):
    """Refuses a region, given as `radius`, larger than what is left."""
    pooled = downsampling.output_size(size)
    if any(
        length is not None and length < side
        for length, side in zip(pooled, region)
    ):
        raise ValueError(
            message(
                "radius",
                "a region that fits into the down-sampled map of shape "
                f"{pooled}, made from {size}",
                radius,
                "Lower `radius` or `pool_size`, or give larger images.",
            )
        )
