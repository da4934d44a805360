"""The same legal inputs through this package and the published code.

KERAS_BACKEND=torch python tests/stress/side_by_side.py --published DIR

`DIR` is a checkout of ZJULearning/RMI, which is run as it is, in float64, and
once more in float32. Every image has one prediction kind of the generated
cases. Counted is how often an implementation raises, gives NaN or infinity,
or a gradient that is off by more than a hundredth of the exact one, which is
that of the float64 reference of the tests. Written as a Markdown table.
"""

import argparse
import collections
import functools
import random
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import peers
from keras import ops

import keras_rmi
from cases import CASES
from reference import rmi
from stress import contents
from stress.checks import gradient_error
from stress.problems import Problem
from support import BACKEND, HARD_NORM, value_and_gradient

OUTCOMES = ("raises", "NaN", "wrong gradient")


def draw(rng):
    """A problem that the published code accepts, with one image."""
    factor, radius = rng.choice((1, 2, 3, 4)), rng.choice((2, 3, 3, 4, 5))
    side = factor * radius
    size = tuple(side + rng.choice((0, 3, 9, 30)) for _ in range(2))
    options = {
        "radius": radius,
        "pool_size": factor,
        "from_logits": True,
        "ignore_class": contents.VOID,
    }
    return Problem(
        CASES[0],
        options,
        (1, *size),
        rng.choice((1, 2, 5)) + 1,
        "ids",
        "int64",
        None,
        "float32",
    )


def exact(problem, content):
    """Gradient of the published loss in float64, from its two terms."""
    terms = {
        share: rmi.rmi_loss(
            content.y_true, content.x, rmi_weight=share, **problem.options
        )[1]
        for share in (0.0, 1.0)
    }
    valid = np.sum(~content.void)
    # Its pixel term is divided by one pixel more.
    return 0.5 * (terms[0.0] * valid / (valid + 1) + terms[1.0])


def published(folder, problem, content, double):
    """Value and gradient (N,H,W,C) of the published loss."""
    loss = peers.published(
        folder,
        "cpu",
        problem.num_classes,
        problem.options["pool_size"],
        problem.options["radius"],
        double=double,
    )
    labels = ops.convert_to_tensor(content.y_true)
    first = np.ascontiguousarray(np.moveaxis(content.x, -1, 1))
    value, gradient = value_and_gradient(lambda x: loss(labels, x), first)
    return value, np.moveaxis(gradient, 1, -1)


def ours(problem, content):
    loss = keras_rmi.RMILoss(**problem.options)
    return value_and_gradient(lambda x: loss(content.y_true, x), content.x)


def outcome(run, slopes):
    """One of `OUTCOMES`, or None where the gradient is right."""
    try:
        value, gradient = run()
    except Exception:
        return "raises"
    if not (np.isfinite(value).all() and np.isfinite(gradient).all()):
        return "NaN"
    right = gradient_error(gradient.astype("float64"), slopes) <= HARD_NORM
    return None if right else "wrong gradient"


def compare(folder, count, seed):
    """Counts of images by kind and of outcomes by (kind, who, outcome)."""
    rng = random.Random(seed)
    images, counts = collections.Counter(), collections.Counter()
    for _ in range(count):
        problem = draw(rng)
        content = problem.draw(rng)
        images[content.kind] += 1
        for who, found in judge(folder, problem, content):
            counts[content.kind, who, found] += 1
    return images, counts


def judge(folder, problem, content):
    """(who, outcome) for the three implementations."""
    slopes = exact(problem, content)
    for who in ("float64", "float32"):
        run = functools.partial(
            published, folder, problem, content, double=who == "float64"
        )
        yield who, outcome(run, slopes)
    _, slopes = rmi.rmi_loss(content.y_true, content.x, **problem.options)
    yield "ours", outcome(functools.partial(ours, problem, content), slopes)


def table(images, counts):
    """Markdown, one row for each kind of predictions."""
    names = {
        "float64": "published, float64",
        "float32": "published in float32",
        "ours": "`RMILoss`, float32",
    }
    lines = [
        f"| predictions | images | {' | '.join(names.values())} |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in (*contents.ORDINARY, *contents.EXTREME):
        cells = [_cell(counts, [kind], who) for who in names]
        lines.append(f"| {kind} | {images[kind]} | {' | '.join(cells)} |")
    cells = [_cell(counts, images, who) for who in names]
    lines.append(f"| all | {sum(images.values())} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(counts, kinds, who):
    """What went wrong, such as "3 raises, 1 NaN"; 0 if nothing did."""
    totals = {o: sum(counts[k, who, o] for k in kinds) for o in OUTCOMES}
    found = [f"{total} {o}" for o, total in totals.items() if total]
    return ", ".join(found) or "0"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--published", type=Path, required=True, metavar="DIR")
    parser.add_argument("--images", type=int, default=2000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    options = parser.parse_args(arguments)
    if BACKEND != peers.BACKEND:
        parser.error(f"KERAS_BACKEND must be {peers.BACKEND}, not {BACKEND}")
    try:
        peers.check("published", options.published)
    except peers.PeerError as error:
        parser.error(str(error))
    print(table(*compare(options.published, options.images, options.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
