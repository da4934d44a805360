"""What the loops without `fit` have in common: options, data and scores."""

import argparse
import importlib.util
import os
import sys
import time

import choices
import command
import numpy as np
import scenes
import scores


def use_backend(name, *packages):
    """Tells Keras which backend to take, before anything imports Keras.

    Keras reads KERAS_BACKEND once, when it is imported, and takes TensorFlow
    where neither that nor its configuration file says otherwise.
    """
    chosen = os.environ.setdefault("KERAS_BACKEND", name)
    missing = [p for p in (name, *packages) if not importlib.util.find_spec(p)]
    if chosen != name:
        problem = f"KERAS_BACKEND is {chosen}: unset it, or set it to {name}"
    elif missing:
        problem = f"not installed: {' '.join(missing)}"
    else:
        return
    print(f"{os.path.basename(sys.argv[0])}: error: {problem}", file=sys.stderr)
    sys.exit(2)


def parser(description):
    """The options of every loop."""
    result = argparse.ArgumentParser(
        description=description,
        epilog=f"losses: {' '.join(choices.LOSSES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add(
        "--loss",
        type=command.loss_name,
        default="rmi",
        metavar="LOSS",
        help="one of the losses below, or a sum such as rmi+0.5*dice "
        "(default: rmi)",
    )
    for name, default, text in (
        ("images", 600, "train on N scenes"),
        ("val-images", 40, "validate on N scenes"),
        ("epochs", 6, "passes over the scenes"),
        ("batch-size", 4, "scenes in a step"),
    ):
        add(
            f"--{name}",
            type=command.positive,
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )
    add(
        "--size",
        type=command.size,
        default=(96, 96),
        metavar="HxW",
        help="size of the scenes, from 48x48 (default: 96x96)",
    )
    add(
        "--learning-rate",
        type=command.rate,
        default=3e-3,
        metavar="X",
        help="of Adam (default: 0.003)",
    )
    add("--seed", type=int, default=0, metavar="N", help="default: 0")
    return result


def data(options):
    """Scenes to train on and to validate, as (images, labels) of uint8.

    Labels are class ids, 0 to 10, and 255 for void.
    """
    return (
        scenes.make_scenes(count, options.size, split, options.seed)
        for count, split in (
            (options.images, "train"),
            (options.val_images, "val"),
        )
    )


def batches(images, labels, options, epoch):
    """Shuffled batches of one size, as a compiled step wants them."""
    rng = np.random.default_rng((options.seed, epoch))
    order = rng.permutation(len(images))
    size = min(options.batch_size, len(images))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        yield images[chosen], labels[chosen]


def run(options, step, predict):
    """Trains and validates, one line for each epoch.

    `step(images, labels)` returns the loss, `predict(images)` class ids, both
    as NumPy. Void has no part in the mean IoU.
    """
    train, (val_images, val_labels) = data(options)
    print(f"{options.loss}: {choices.describe(options.loss)}")
    print("the first epoch includes the time to compile")
    for epoch in range(options.epochs):
        start = time.perf_counter()
        values = [step(*batch) for batch in batches(*train, options, epoch)]
        mean = np.mean(values)  # waits for what has been launched
        seconds = time.perf_counter() - start
        confusion = scores.confusion(
            val_labels, predict(val_images), len(scenes.CLASS_NAMES)
        )
        print(
            f"epoch {epoch + 1:2}/{options.epochs}  loss {mean:8.4f}"
            f"  mIoU {scores.mean_iou(confusion):.3f}  {seconds:5.1f} s",
            flush=True,
        )
