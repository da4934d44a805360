"""What holds for every legal input of a loss."""

import dataclasses

import numpy as np

from stress import truth
from support import (
    HALF,
    HARD_NORM,
    HARD_VALUE,
    NEGLIGIBLE,
    SAME,
    value_and_gradient,
)

# Largest rounding of a number of a dtype; float16 has a smallest one too.
HALF_ROUNDING = {
    "float32": lambda x: 0.0 * x,
    "bfloat16": lambda x: HALF["bfloat16"] * x,
    "float16": lambda x: HALF["float16"] * x + 2.0**-24,
}
# A loss is not negative, up to rounding.
FLOOR = -1e-3


@dataclasses.dataclass
class Finding:
    """Errors of one evaluation, and what is wrong if something is."""

    problem: object
    kind: str
    faults: list
    errors: dict

    def __str__(self):
        faults = "; ".join(self.faults)
        return f"{faults} [{self.kind}] {self.problem}"


def examine(problem, content, mode):
    """Evaluates a content, and once more what must not matter."""
    x, constants = problem.arguments(content)
    value, gradient = value_and_gradient(
        problem.call, x, mode, constants=constants
    )
    found = Finding(problem, content.kind, [], {})
    expect = _Expect(found)
    expect("one value per image", value.shape == problem.size[:1])
    expect("a finite value", np.isfinite(value).all())
    expect("a finite gradient", np.isfinite(gradient).all())
    if found.faults:
        return found
    gradient = np.moveaxis(gradient, problem.axis, -1).astype("float64")
    # What is left of a difference of large logits is their rounding.
    scale = np.maximum(1.0, 1e-3 * np.abs(content.x).max(axis=(1, 2, 3)))
    found.errors["negative"] = float(-np.min(value / scale, initial=0.0))
    expect("a value that is not negative", np.all(value >= FLOOR * scale))
    expect("no gradient where void", not gradient[content.void].any())
    blank = content.void.all(axis=(1, 2))
    expect("nothing for a void image", np.all(np.abs(value[blank]) <= SAME))
    _compare_same(problem, content, mode, value, expect, found)
    if not found.faults:
        _compare_truth(problem, content, value, gradient, expect, found)
    return found


class _Expect:
    def __init__(self, found):
        self._found = found

    def __call__(self, fact, holds):
        if not holds:
            self._found.faults.append(f"not {fact}")


def _compare_same(problem, content, mode, value, expect, found):
    """Images in the opposite order, other predictions where void."""
    turned = np.roll(content.x, 1, axis=-1)[:, ::-1, ::-1]
    other = np.where(content.void[..., None], turned, content.x)
    changed = dataclasses.replace(
        content,
        x=np.ascontiguousarray(other[::-1]),
        y_true=np.ascontiguousarray(content.y_true[::-1]),
        weights=None
        if content.weights is None
        else np.ascontiguousarray(content.weights[::-1]),
    )
    x, constants = problem.arguments(changed)
    again, _ = value_and_gradient(problem.call, x, mode, constants=constants)
    error = np.abs(again[::-1] - value) / np.maximum(1.0, np.abs(value))
    found.errors["same"] = float(np.max(error))
    # Regions fewer than their pixels make small pivots, which enlarge the
    # rounding of sums in another order.
    tolerance = HARD_VALUE if problem.has_regions else SAME
    expect("the value of the same image", np.all(error <= tolerance))


def _compare_truth(problem, content, value, gradient, expect, found):
    """Agreement with float64, image by image."""
    wanted = truth.expected(problem, content)
    if wanted is None:
        return
    values, slopes = wanted
    error = np.abs(value - values) / np.maximum(1.0, np.abs(values))
    found.errors["value"] = float(np.max(error))
    expect("the value of float64", np.all(error <= HARD_VALUE))
    if slopes is None:
        return
    found.errors["gradient"] = max(
        gradient_error(*pair, problem.dtype) for pair in zip(gradient, slopes)
    )
    expect("the gradient of float64", found.errors["gradient"] <= HARD_NORM)


def gradient_error(gradient, slopes, dtype="float32"):
    """Distance of two gradients of an image (H,W,C), relative to its length.

    A gradient below a thousandth of that of an undecided prediction counts as
    so long: of `p - y` near a certain pixel float32 has no more. What half
    precision rounds is subtracted.
    """
    pixels = slopes.shape[0] * slopes.shape[1]
    length = NEGLIGIBLE / HARD_NORM / pixels**0.5
    length = max(np.linalg.norm(slopes), length)
    rounding = HALF_ROUNDING[dtype](np.abs(slopes))
    distance = np.linalg.norm(gradient - slopes) - np.linalg.norm(rounding)
    return float(max(distance, 0.0) / length)


def examine_map(problem, content, mode):
    """The same for a layer, the bound or the metric."""
    kind, x, constants = content
    value, gradient = value_and_gradient(
        problem.function, x, mode, constants=constants
    )
    found = Finding(problem, kind, [], {})
    expect = _Expect(found)
    expect("a finite value", np.isfinite(value).all())
    expect("a finite gradient", np.isfinite(gradient).all())
    wanted = problem.reference(x, *constants)
    expect("the shape of float64", value.shape == np.shape(wanted))
    if found.faults:
        return found
    scale = np.maximum(1.0, np.abs(wanted))
    if not problem.statistics:
        # Of a mean of large numbers only that much is there.
        scale = max(1.0, float(np.abs(x).max()))
    found.errors["value"] = float(np.max(np.abs(value - wanted) / scale))
    expect("the value of float64", found.errors["value"] <= HARD_VALUE)
    return found
