"""Measures DenseCRF beside pydensecrf: one image, one thread.

Every subject is a process of its own, and rounds go over all subjects. A call
includes all that depends on the image: the lattices of pydensecrf, and the
index of the layer. Printed is a Markdown table: the median time of a call,
its ratio to pydensecrf in the same round (median over the rounds), the first
call with tracing and compiling, and the memory that calls add.

pydensecrf takes part if it can be imported (pip install pydensecrf2), and has
no gradient.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import machine
import memory
import numpy as np
from tables import NOTHING, milliseconds, table

ROOT = Path(__file__).resolve().parents[1]
PEER = "pydensecrf"
SUBJECTS = {
    PEER: PEER,
    "torch": "torch",
    "jax": "jax, jit",
    "tensorflow": "tensorflow, graph",
    "tensorflow-xla": "tensorflow, XLA",
}


def main(arguments=None):
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.gradient and PEER in options.subjects:
        parser.error(f"--gradient: {PEER} has none, leave it out of --subjects")
    if options.worker:
        print(json.dumps(measure(json.loads(options.worker))))
        return 0
    height, width = map(int, options.size.split("x"))
    found = {}
    for _ in range(options.rounds):
        for iterations in options.iterations:
            for subject in options.subjects:
                job = {
                    "subject": subject,
                    "iterations": iterations,
                    "shape": (height, width, options.classes),
                    "image": options.image and str(options.image.resolve()),
                    "repeats": options.repeats,
                    "gradient": options.gradient,
                }
                case = found.setdefault((subject, iterations), [])
                case.append(_in_a_process(job))
    print(f"{height} x {width} x {options.classes}, one thread of one core")
    print(machine.describe(1), end="\n\n")
    print(_report(found, options))
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--size", default="360x480", metavar="HxW")
    add("--classes", type=int, default=11, metavar="C")
    add("--iterations", type=int, nargs="+", default=[1, 5, 10], metavar="X")
    add("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    add("--image", type=Path, help="an image file instead of a generated one")
    add("--gradient", action="store_true", help="that of the sum of squares")
    add("--rounds", type=int, default=2, metavar="N")
    add("--repeats", type=int, default=5, metavar="N")
    add("--worker", help=argparse.SUPPRESS)
    return parser


def _in_a_process(job):
    """The figures of one subject, or {"error": ...}."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "KERAS_BACKEND": job["subject"].partition("-")[0],
    }
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(job)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["?"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def measure(job):
    """Seconds of the calls, and the peak memory of the second one."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    probabilities, image = make_data(job)
    run = (_peer if job["subject"] == PEER else _layer)(
        job, probabilities, image
    )
    seconds = []
    with memory.PeakResident() as first:
        seconds.append(_timed(run))
    with memory.PeakResident() as second:
        seconds.append(_timed(run))
    seconds += [_timed(run) for _ in range(job["repeats"])]
    added = None if first.start is None else second.peak - first.start
    return {"first": seconds[0], "seconds": seconds[2:], "memory": added}


def _timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def make_data(job):
    """Probabilities (H,W,C), and an image (H,W,3) of soft blotches."""
    height, width, classes = job["shape"]
    rng = np.random.default_rng(0)
    if job["image"]:
        from PIL import Image

        with Image.open(job["image"]) as file:
            image = file.convert("RGB").resize((width, height))
        image = np.array(image)
    else:
        steps = [np.linspace(0, 11, side).astype(int) for side in job["shape"]]
        coarse = rng.uniform(0, 255, (12, 12, 3))[steps[0]][:, steps[1]]
        rows = np.linspace(0, 40, height)[:, None, None]
        noise = rng.normal(0, 6, (height, width, 3))
        image = np.uint8(np.clip(coarse + rows + noise, 0, 255))
    logits = rng.standard_normal((height, width, classes))
    logits += 3 * (image.sum(-1, keepdims=True) // 70 == np.arange(classes))
    p = np.exp(logits)
    return (p / p.sum(-1, keepdims=True)).astype("float32"), image


def _peer(job, probabilities, image):
    import pydensecrf.densecrf as peer
    from pydensecrf.utils import unary_from_softmax

    height, width, classes = job["shape"]
    planes = np.ascontiguousarray(np.moveaxis(probabilities, -1, 0))

    def run():
        crf = peer.DenseCRF2D(width, height, classes)
        crf.setUnaryEnergy(unary_from_softmax(planes))
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=30, srgb=13, rgbim=image, compat=10)
        return np.array(crf.inference(job["iterations"]))

    return run


def _layer(job, probabilities, image):
    import keras

    from keras_rmi.layers import DenseCRF

    layer = DenseCRF(job["iterations"])
    inputs = [
        keras.ops.convert_to_tensor(x[None]) for x in (probabilities, image)
    ]

    def function(*x):
        return layer(list(x))

    if job["gradient"]:
        function = _gradient(function)
    function = _compiled(job["subject"], function)

    def run():
        return keras.ops.convert_to_numpy(function(*inputs))

    return run


def _gradient(function):
    """The gradient of the sum of squares to the probabilities."""
    import keras

    if keras.backend.backend() == "jax":
        import jax  # noqa: TID251 - a benchmark names what it measures

        return jax.grad(lambda p, image: (function(p, image) ** 2).sum())
    if keras.backend.backend() == "torch":

        def gradient(p, image):
            p = p.detach().requires_grad_()
            (function(p, image) ** 2).sum().backward()
            return p.grad

        return gradient
    import tensorflow as tf  # noqa: TID251 - as above

    def gradient(p, image):
        with tf.GradientTape() as tape:
            tape.watch(p)
            total = tf.reduce_sum(function(p, image) ** 2)
        return tape.gradient(total, p)

    return gradient


def _compiled(subject, function):
    if subject == "torch":
        import torch  # noqa: TID251 - a benchmark names what it measures

        torch.set_num_threads(1)
        return function
    if subject == "jax":
        import jax  # noqa: TID251 - as above

        return jax.jit(function)
    import tensorflow as tf  # noqa: TID251 - as above

    xla = subject.endswith("xla")
    return functools.partial(tf.function(function, jit_compile=xla))


def _report(found, options):
    rows = []
    for (subject, iterations), runs in found.items():
        errors = [run["error"] for run in runs if "error" in run]
        if errors:
            rows.append([SUBJECTS[subject], iterations, errors[0]])
            rows[-1] += [NOTHING] * 3
            continue
        peers = found.get((PEER, iterations), [])
        ratios = [
            statistics.median(run["seconds"])
            / statistics.median(peer["seconds"])
            for run, peer in zip(runs, peers)
            if "error" not in peer
        ]
        times = [second for run in runs for second in run["seconds"]]
        added = [run["memory"] for run in runs if run["memory"] is not None]
        rows.append(
            [
                SUBJECTS[subject],
                iterations,
                f"{milliseconds(statistics.median(times))} ms",
                f"{statistics.median(ratios):.2f}" if ratios else NOTHING,
                f"{statistics.median(run['first'] for run in runs):.1f} s",
                f"{max(added) / 2**20:.0f} MiB" if added else NOTHING,
            ]
        )
    names = ("", "iterations", "a call", "to pydensecrf", "first", "memory")
    return table(names, rows)


if __name__ == "__main__":
    sys.exit(main())
