"""Words of the annotations of public signatures.

Tensors carry none: Keras has no type for them.
"""

from collections.abc import Collection
from typing import Literal

Activation = Literal["sigmoid", "softmax"]
Axis = Literal[-1, 1]
Classes = Literal["present", "all"]
ClassWeights = Collection[float] | None
Compat = float | Collection[float] | Collection[Collection[float]]
DataFormat = Literal["channels_last", "channels_first"] | None
Deviations = float | Collection[float]
IgnoreClass = int | tuple[int, ...] | list[int] | None
IntOrPair = int | tuple[int, int] | list[int]
Normalization = Literal["symmetric", "before", "after"] | None
Pooling = Literal["avg", "max", "interpolate"] | None
