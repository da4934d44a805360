"""Steps and an epoch on TensorFlow: one device, or MirroredStrategy.

python tests/distribution/on_tensorflow.py FILE DEVICES
"""

import sys
from pathlib import Path

import tensorflow as tf

sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np

from distribution import problem

EPOCHS = {
    "unequal epoch": "sum",
    "unequal epoch, naive": "sum_over_batch_size",
}


def strategy_of(count):
    """The default one, which has a single replica, or a mirrored one."""
    if count == 1:
        return tf.distribute.get_strategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, parts)
    names = [f"CPU:{i}" for i in range(count)]
    return tf.distribute.MirroredStrategy(names)


def step(strategy, case, naive):
    with strategy.scope():
        model, optimizer = problem.network()
        optimizer.build(model.trainable_variables)
    means = case.even or naive
    loss = case.build(reduction=None if means else "sum")

    def replica_step(*batch):
        x, y, weight = batch if len(batch) == 3 else (*batch, None)
        with tf.GradientTape() as tape:
            value = loss(y, model(x), weight)
            if not means:
                value = value / case.share()
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value, gradients

    batch = [x for x in case.batch() if x is not None]
    count = strategy.num_replicas_in_sync
    parts = [
        strategy.experimental_distribute_values_from_function(
            lambda context, x=x: tf.constant(
                np.array_split(x, count)[context.replica_id_in_sync_group]
            )
        )
        for x in batch
    ]
    value, gradients = tf.nest.map_structure(
        lambda x: strategy.reduce("SUM", x, axis=None),
        strategy.run(replica_step, args=parts),
    )
    return {
        "value": value,
        "gradient": gradients,
        "weight": model.get_weights(),
    }


def epoch(strategy, loss, parts=(), **options):
    with strategy.scope():
        model, optimizer = problem.network()
        history = problem.fit(model, optimizer, loss, parts, **options)
    return {**history, "weight": model.get_weights()}


def main(path, count):
    strategy = strategy_of(int(count))
    results = problem.Results()
    for case in problem.CASES:
        results.add(case.name, **step(strategy, case, naive=False))
    for case in problem.NAIVE:
        results.add(f"{case.name}, naive", **step(strategy, case, naive=True))
    loss = problem.composite()
    results.add("epoch", **epoch(strategy, loss, loss.part_metrics()))
    # The last batch of seven is three: Keras gives two and one.
    for name, reduction in EPOCHS.items():
        loss = problem.softmax(reduction=reduction)
        results.add(name, **epoch(strategy, loss, count=7))
    results.save(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
