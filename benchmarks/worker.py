"""Measures one case in this process and prints the figures as JSON.

`losses.py` starts one such process per measurement:

    python benchmarks/worker.py '{"subject": "ours", "backend": "torch", ...}'

The order of things in it is part of the definition of the figures:

1. the data is put on the device; a trivial function of the same logits, which
   returns a number, starts the framework, its threads and its compiler;
2. the first step: `first_call` is its time, `first_memory` its peak memory,
   both with tracing and compiling;
3. the second step: `memory` is its peak memory;
4. `repeats` steps, each timed on its own.

Memory is over what was in use before the first step, when the process had not
seen the loss. It includes the gradient of the logits, but neither logits nor
labels. The second step also sees compiled code and libraries that the first
has loaded, which have nothing to do with the data; `losses.py` finds out how
much that is from the same step on a small image, and subtracts it.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

VOID = 255
VOID_SHARE = 0.05


def main(text):
    """Prints what `measure` finds as the last line."""
    job = json.loads(text)
    if job["threads"] and hasattr(os, "sched_setaffinity"):
        # Every framework sizes its thread pools by the cores it may use.
        os.sched_setaffinity(
            0, sorted(os.sched_getaffinity(0))[: job["threads"]]
        )
    figures = measure_copies(job) if is_numpy(job) else measure_step(job)
    print(f"\n{json.dumps(figures)}")


def is_numpy(job):
    """The floor on a CPU, which needs no framework."""
    return job["backend"] == "numpy"


def measure_step(job):
    """Steps of a loss, or copies on a device."""
    from engines import ENGINES

    engine = ENGINES[job["backend"]](job["device"], job["threads"])
    logits, labels = make_data(job)
    logits, labels = engine.put(logits), engine.put(labels)
    engine.warm_up(logits)
    if job["subject"] == "copies":
        run = three_times(engine.copy(logits))
    else:
        run = engine.step(make_loss(job), logits, labels)

    def timed():
        start = time.perf_counter()
        result = run()
        engine.wait(result)
        return time.perf_counter() - start, result

    with engine.watch() as first:
        first_call, result = timed()
    if job["subject"] != "copies" and not all(map(engine.is_finite, result)):
        raise FloatingPointError("value or gradient is not finite")
    result = None
    with engine.watch() as second:
        result = timed()
    result = None
    seconds = []
    for _ in range(job["repeats"]):
        elapsed, result = timed()
        seconds.append(elapsed)
        # Freed here, outside of the timed part, before the next is made.
        result = None
    return {
        "first_call": first_call,
        "first_memory": extra(first.peak, first.start),
        "memory": extra(second.peak, first.start),
        "seconds": seconds,
        "accelerator": engine.accelerator(),
        "versions": versions(job, engine),
    }


def extra(peak, start):
    """The difference; None where there is no figure."""
    return None if start is None else peak - start


def measure_copies(job):
    """Copies by numpy, which runs in as many threads as there are cores."""
    import numpy as np

    source, _ = make_data(job)
    target = np.zeros_like(source)
    count = job["threads"] or os.cpu_count()
    parts = list(
        zip(
            np.array_split(source.ravel(), count),
            np.array_split(target.ravel(), count),
        )
    )
    seconds = []
    with ThreadPoolExecutor(count) as pool:

        def copy():
            list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), parts))

        run = three_times(copy)
        run()
        for _ in range(job["repeats"]):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "versions": {"numpy": np.__version__}}


def three_times(copy):
    """The work of `copy`, three times over."""

    def run():
        copy()
        copy()
        return copy()

    return run


def make_data(job):
    """Random logits (N,H,W,C), for a peer (N,C,H,W), and labels (N,H,W).

    One label in twenty is void. Labels have the dtype that users of Keras, or
    of the peer, have at hand.
    """
    import numpy as np
    from subjects import PEERS

    generator = np.random.default_rng(0)
    n, height, width = job["batch"], job["height"], job["width"]
    shape = (n, height, width, job["classes"])
    if job["subject"] in PEERS:
        shape = (n, job["classes"], height, width)
    logits = generator.standard_normal(shape, dtype="float32")
    labels = generator.integers(0, job["classes"], (n, height, width))
    labels[generator.random(labels.shape) < VOID_SHARE] = VOID
    is_peer = job["subject"] in PEERS
    return logits, labels.astype("int64" if is_peer else "int32")


def make_loss(job):
    """loss(labels, logits) -> number."""
    from peers import PEERS

    subject = job["subject"]
    if subject in PEERS:
        names = ("device", "classes", "factor", "radius")
        options = {name: job[name] for name in names}
        return PEERS[subject](job["folder"], **options)
    if subject == "keras":
        import keras

        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=VOID
        )
    import keras_rmi

    if subject == "pixel":
        return keras_rmi.RMILoss(
            rmi_weight=0.0, from_logits=True, ignore_class=VOID
        )
    return keras_rmi.RMILoss(
        radius=job["radius"],
        pooling="avg",
        pool_size=job["factor"],
        from_logits=True,
        ignore_class=VOID,
    )


def versions(job, engine):
    """Of what took part."""
    import numpy as np

    found = {job["backend"]: engine.version, "numpy": np.__version__}
    if "keras" in sys.modules:
        found["keras"] = sys.modules["keras"].__version__
    return found


if __name__ == "__main__":
    main(sys.argv[1])
