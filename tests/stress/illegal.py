"""Inputs with one fault, and the error that each must give.

The texts are written out here, so that a backend whose text differs fails,
and with it all of them give the same one.
"""

import contextlib
import dataclasses
import sys
from unittest import mock

import numpy as np

import keras_rmi


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is called, and the type and the text of the one error."""

    name: str
    call: object
    error: type
    text: str


def draw_fault(random, problem, content):
    """A legal problem, broken in one way."""
    kinds = [_rank, _dtype, _labels, _weights, _negative, _class_weights]
    if problem.case.loss is keras_rmi.RMILoss:
        kinds += [_radius, _option]
    return random.choice(kinds)(random, problem, content)


def _fault(kind, problem, content, error, text, options=None, **changes):
    x, constants = problem.arguments(content)
    y_true, weights = (*constants, None)[:2]
    arrays = {"x": x.astype(_plain(problem.dtype)), "y_true": y_true}
    arrays = {**arrays, "weights": weights, **changes}

    def call():
        loss = problem.loss(**(options or {}))
        return loss(arrays["y_true"], arrays["x"], arrays["weights"])

    return Fault(f"{kind}: {problem}", call, error, text)


def _plain(dtype):
    """What numpy can hold."""
    return "float32" if dtype == "bfloat16" else dtype


def _text(argument, expected, received, fix=""):
    fix = f" {fix}" if fix else ""
    received = f"{argument}={received!r}"
    return (
        f"Invalid `{argument}`: expected {expected}.{fix} Received: {received}"
    )


def _rank(random, problem, content):
    x, _ = problem.arguments(content)
    x = random.choice((x[0], x[..., None], x[..., 0], x[0, 0]))
    axes = "(N, H, W, C)" if problem.axis == -1 else "(N, C, H, W)"
    text = _text("y_pred.shape", f"four axes {axes}", x.shape)
    # Weights of images are held against the batch before.
    return _fault("rank", problem, content, ValueError, text, x=x, weights=None)


def _dtype(random, problem, content):
    dtype = random.choice(("int32", "uint8", "bool", "int16"))
    x, _ = problem.arguments(content)
    x = (np.clip(x, -100, 100) > 0).astype(dtype)
    text = _text("y_pred.dtype", "a floating dtype", dtype)
    return _fault("dtype", problem, content, TypeError, text, x=x)


def _labels(random, problem, content):
    _, (y_true, *_) = problem.arguments(content)
    kind = random.choice(("longer", "wider", "flat", "five", "more images"))
    if kind == "flat":
        y_true = y_true.reshape(y_true.shape[0], -1)
    elif kind == "five":
        while y_true.ndim < 5:
            y_true = y_true[..., None]
    else:
        axis = {"more images": 0, "longer": 1, "wider": 2}[kind]
        if y_true.ndim == 4 and problem.axis == 1:
            axis += axis > 0
        y_true = np.concatenate([y_true, y_true], axis=axis)
    text = _text("y_true.shape", _expected_labels(problem), y_true.shape)
    return _fault("labels", problem, content, ValueError, text, y_true=y_true)


def _expected_labels(problem):
    size, num_classes = problem.size, problem.num_classes
    if num_classes == 1:
        expected = f"a {{0, 1}} mask of shape {size} or {(*size, 1)}"
    else:
        expected = (
            f"class ids of shape {size} or {(*size, 1)}, or dense labels with "
            f"{num_classes} channels at axis {problem.axis}"
        )
    return f"{expected}, for `y_pred` with {num_classes} channel(s)"


def _weights(random, problem, content):
    count, height, width = problem.size
    shapes = {
        "image": [(count + 1,), (count, 2), (count + 1, 1)],
        "pixel": [
            (count, height, width + 1),
            (count, height + 1, width, 1),
            (count, height, width, 2),
        ],
    }
    kind = random.choice(("image", "pixel"))
    weights = np.ones(random.choice(shapes[kind]), "float32")
    expected = (
        f"one weight per image, {(count,)} or {(count, 1)}, or one per pixel, "
        "(N, H, W) or (N, H, W, 1)"
        if kind == "image"
        else f"one weight per pixel, {problem.size} or {(*problem.size, 1)}"
    )
    text = _text("sample_weight.shape", expected, weights.shape)
    return _fault(
        "weights", problem, content, ValueError, text, weights=weights
    )


def _negative(random, problem, content):
    shape = random.choice((problem.size[:1], problem.size))
    weights = np.ones(shape, "float32")
    weights[tuple(random.randrange(length) for length in shape)] = -0.5
    text = _text("sample_weight", "weights >= 0", -0.5)
    return _fault(
        "negative", problem, content, ValueError, text, weights=weights
    )


def _class_weights(random, problem, content):
    if problem.case.loss not in _WEIGHTED:
        return _rank(random, problem, content)
    expected = "None or a sequence of finite numbers >= 0, one per class"
    weights, error = random.choice(
        (
            ([1.0] * (problem.num_classes + 1), ValueError),
            ([-1.0] * problem.num_classes, ValueError),
            ([], ValueError),
            ("balanced", TypeError),
            ([None] * problem.num_classes, TypeError),
        )
    )
    if len(weights) == problem.num_classes + 1 and weights[0] == 1.0:
        expected = f"{problem.num_classes} numbers, one per channel of `y_pred`"
    text = _text("class_weights", expected, weights)
    options = {"class_weights": weights}
    return _fault("class weights", problem, content, error, text, options)


_WEIGHTED = {
    getattr(keras_rmi, name)
    for name in keras_rmi.losses.__all__
    if isinstance(getattr(keras_rmi, name), type)
} - {keras_rmi.CompositeLoss}


def _radius(random, problem, content):
    if problem.options.get("rmi_weight") == 0:
        return _option(random, problem, content)
    from reference.downsampling import downsample

    size = problem.size[1:]
    options = {name: problem.options[name] for name in ("pooling", "pool_size")}
    small, _ = downsample(np.zeros((1, *size, 1)), **options)
    pooled = small.shape[1:3]
    radius = max(pooled) + random.randint(1, 3)
    expected = (
        "a region that fits into the down-sampled map of shape "
        f"{pooled}, made from {size}"
    )
    fix = "Lower `radius` or `pool_size`, or give larger images."
    text = _text("radius", expected, radius, fix)
    options = {"radius": radius}
    return _fault("radius", problem, content, ValueError, text, options)


def _option(random, problem, content):
    pair = "an integer >= 1 or a pair (rows, columns) of them"
    argument, value, error, expected = random.choice(
        (
            ("radius", 0, ValueError, pair),
            ("radius", 2.0, TypeError, pair),
            ("pool_size", (1, 2, 3), ValueError, pair),
            ("epsilon", 0.0, ValueError, "a finite number > 0.0"),
            ("rmi_weight", 1.5, ValueError, "a number in [0.0, 1.0]"),
            ("from_logits", 1, TypeError, "True or False"),
            ("axis", 2, ValueError, "-1 (channels last) or 1 (channels first)"),
        )
    )
    text = _text(argument, expected, value)
    options = {argument: value}
    return _fault("option", problem, content, error, text, options)


# Where the losses begin to compute.
_WORK = (
    "affinity_terms",
    "lovasz_extension",
    "overlap_loss",
    "pixel_and_region_loss",
)


def examine(fault):
    """What is wrong with the error, or None."""
    try:
        with _no_work():
            fault.call()
    except Exception as error:
        if type(error) is not fault.error or str(error) != fault.text:
            return f"{type(error).__name__}: {error}, not {fault.text}"
        return None
    return f"no error, not {fault.text}"


@contextlib.contextmanager
def _no_work():
    """Whatever a loss computes is an error of its own."""
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("keras_rmi.losses."):
                for work in set(_WORK) & set(vars(module)):
                    stopped = mock.patch.object(module, work, _stop)
                    stack.enter_context(stopped)
        yield


def _stop(*arguments):
    raise AssertionError("computed before the input was checked")
