"""Words of the annotations of public signatures.

Tensors carry none: Keras has no type for them.
"""

from collections.abc import Collection
from typing import Literal

Activation = Literal["sigmoid", "softmax"]
Axis = Literal[-1, 1]
Classes = Literal["present", "all"]
ClassWeights = Collection[float] | None
DataFormat = Literal["channels_last", "channels_first"] | None
IgnoreClass = int | tuple[int, ...] | list[int] | None
IntOrPair = int | tuple[int, int] | list[int]
Pooling = Literal["avg", "max", "interpolate"] | None
