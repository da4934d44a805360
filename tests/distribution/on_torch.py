"""Steps and an epoch on PyTorch: one process, or DistributedDataParallel.

python tests/distribution/on_torch.py FILE DEVICES
"""

import sys
import tempfile
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))

from distribution import problem
from support import to_numpy


class Process:
    """This process and the others, of which there may be none."""

    def __init__(self, rank, world):
        self.rank, self.world = rank, world

    def wrapped(self, model):
        if self.world == 1:
            return model
        return torch.nn.parallel.DistributedDataParallel(model)

    def sum(self, x):
        if self.world > 1:
            torch.distributed.all_reduce(x)
        return x

    def part(self, arrays):
        """The images of this process: the first has more where unequal."""
        parts = (
            None if x is None else torch.tensor_split(x, self.world)[self.rank]
            for x in arrays
        )
        return list(parts)


def tensors(arrays):
    return [None if x is None else torch.from_numpy(x) for x in arrays]


def step(process, case, naive):
    """Averages the gradients of the processes, as DDP does."""
    model, optimizer = problem.network()
    optimizer.build(model.trainable_variables)
    x, y, weight = process.part(tensors(case.batch()))
    # Kept until the gradients are there: it is what averages them.
    parallel = process.wrapped(model)
    logits = parallel(x)
    if case.even or naive:
        loss = case.build()(y, logits, weight)
    else:
        total = case.build(reduction="sum")(y, logits, weight)
        loss = total * process.world / case.share()
    loss.backward()
    gradients = [v.value.grad for v in model.trainable_variables]
    with torch.no_grad():
        optimizer.apply(gradients, model.trainable_variables)
    return {
        "value": process.sum(loss.detach().clone()) / process.world,
        "gradient": [to_numpy(x) for x in gradients],
        "weight": model.get_weights(),
    }


def epoch(process):
    """As `fit`: Keras' does not know of other processes."""
    model, optimizer = problem.network()
    optimizer.build(model.trainable_variables)
    parallel = process.wrapped(model)
    loss, metrics = problem.composite(), problem.metrics()
    arrays = problem.images(), problem.labels(), problem.weights("images")
    total = 0.0
    for start in range(0, problem.SIZE[0], problem.BATCH):
        batch = (a[start : start + problem.BATCH] for a in arrays)
        x, y, weight = process.part(tensors(batch))
        model.zero_grad()
        logits = parallel(x)
        value = loss(y, logits, weight)
        value.backward()
        gradients = [v.value.grad for v in model.trainable_variables]
        with torch.no_grad():
            optimizer.apply(gradients, model.trainable_variables)
        total += process.sum(value.detach().clone()) / process.world
        for metric in metrics:
            metric.update_state(y, logits.detach())
    found = {"loss": total / (problem.SIZE[0] // problem.BATCH)}
    for metric in metrics:
        # Their variables are sums.
        for variable in metric.variables:
            process.sum(variable.value)
        found[metric.name] = to_numpy(metric.result())
    return {**found, "weight": model.get_weights()}


def work(rank, world, path, rendezvous):
    torch.set_num_threads(1)
    if world > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=rendezvous, rank=rank, world_size=world
        )
    process = Process(rank, world)
    results = problem.Results()
    for case in (*problem.CASES, problem.ALONE):
        results.add(case.name, **step(process, case, naive=False))
    for case in problem.NAIVE:
        results.add(f"{case.name}, naive", **step(process, case, naive=True))
    results.add("epoch", **epoch(process))
    if rank == 0:
        results.save(path)
    if world > 1:
        torch.distributed.destroy_process_group()


def main(path, devices):
    world = int(devices)
    if world == 1:
        return work(0, 1, path, None)
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = Path(folder, "rendezvous").as_uri()
        torch.multiprocessing.spawn(
            work, (world, path, rendezvous), nprocs=world
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
