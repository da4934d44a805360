"""What holds for every legal input of a loss."""

import dataclasses

import numpy as np

from stress import truth
from support import HARD_NORM, HARD_VALUE, NEGLIGIBLE, SAME, value_and_gradient

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
    # Of the sum of large logits only that much is there.
    scale = np.maximum(1.0, 1e-4 * np.abs(content.x).max(axis=(1, 2, 3)))
    found.errors["negative"] = float(-np.min(value / scale, initial=0.0))
    expect("a value that is not negative", np.all(value >= FLOOR * scale))
    expect("no gradient where void", not gradient[content.void].any())
    blank = content.void.all(axis=(1, 2))
    expect("nothing for a void image", np.all(np.abs(value[blank]) <= SAME))
    _compare_same(problem, content, mode, value, expect, found)
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
    expect("the value of the same image", np.all(error <= SAME))


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
    found.errors["gradient"] = max(map(gradient_error, gradient, slopes))
    expect("the gradient of float64", found.errors["gradient"] <= HARD_NORM)


def gradient_error(gradient, slopes):
    """Distance of two gradients of an image, relative where they count."""
    length = max(np.linalg.norm(slopes), NEGLIGIBLE)
    return float(np.linalg.norm(gradient - slopes) / length)


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
