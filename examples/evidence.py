"""Trains one network with many losses, for tables that can be trusted.

Every loss starts from the same weights of a seed and sees the same batches,
augmentation and schedule. Runs are made in order of importance; what is
finished is skipped, and what was interrupted goes on. The tables are made of
the results by evidence_tables.py.

Without --data the images are scenes of handwritten digits. With it they are
CamVid: 367 + 101 frames to train on, as in the paper's code, and the 233 of
the test split to score once, at the end. With --val the 101 are kept out and
scored instead: that is where choices are made.

With --start every loss goes on from what one of them has trained, seed by
seed: from a network that tells classes apart.
"""

import argparse
import json
import sys
from pathlib import Path

import camvid
import command
import numpy as np
import results
import rows
import scenes


def main(arguments=None):
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.steps % options.every:
        parser.error("--steps must be a multiple of --every")
    begun, weights = _begun(parser, options)
    try:
        dataset = camvid if options.data else scenes
        train_data = _training_data(options)
        setting = _setting(options, dataset, train_data, begun)
        held_out = scored_as(setting, options.data)
        _check_network(parser, options.network)
        _check_setting(options.state, setting)
    except (camvid.DataError, FileExistsError) as error:
        print(f"evidence.py: error: {error}", file=sys.stderr)
        return 2
    # Imported late: --help and a wrong folder are answered at once.
    import runs

    groups = [options.rows] if options.rows else rows.PLAN
    todo = rows.ordered(groups, options.seeds)
    for name, seed in todo[options.part[0] - 1 :: options.part[1]]:
        if results.result_path(options.state, name, seed).exists():
            continue
        print(f"{name}, seed {seed}", flush=True)
        result = runs.run(
            name,
            seed,
            setting,
            train_data,
            held_out,
            options.state,
            weights.get(seed),
        )
        score = result["mean_iou"]["all"]
        print(f"{name}, seed {seed}: mIoU {score:.4f}", flush=True)
    return 0


def _training_data(options):
    """Images and labels to train on."""
    if options.data is None:
        return scenes.make_scenes(options.images, options.size, "train")
    splits = ["train"] if options.val else ["train", "val"]
    # Up to twice the size: what a crop enlarges is sharp.
    limits = camvid.frame_size(options.data, splits[0])
    size = tuple(min(2 * s, limit) for s, limit in zip(options.size, limits))
    parts = [camvid.read_split(options.data, split, size) for split in splits]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts))


def scored_as(setting, data):
    """Images and labels that the runs of a setting are scored on."""
    size, split = tuple(setting["size"]), setting["scored"]
    if setting["data"] == "camvid":
        return camvid.read_split(data, split, size)
    # Scenes for choices and for the score share digits, not places.
    count, seed = setting["images"] // 4, {"val": 0, "test": 1}[split]
    return scenes.make_scenes(count, size, "val", seed)


def _begun(parser, options):
    """What --start goes on from, as it is written, and its weights by seed."""
    if options.start is None:
        return None, {}
    folder, row = options.start
    if row not in rows.ROWS:
        parser.error(f"argument --start: no row is named {row}")
    setting = command.read_setting(parser, Path(folder), options.network)
    weights = {
        seed: command.trained_weights(parser, Path(folder), row, seed)
        for seed in options.seeds
    }
    return {"row": row, "setting": setting}, weights


def _setting(options, dataset, train_data, begun):
    return {
        "data": dataset.__name__,
        "scored": "val" if options.val else "test",
        "images": len(train_data[0]),
        "classes": len(dataset.CLASS_NAMES),
        "size": list(options.size),
        "steps": options.steps,
        "every": options.every,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "network": options.network,
        "start": begun,
    }


def _check_network(parser, name):
    import network

    try:
        network.find(name)
    except (ImportError, AttributeError, ValueError) as error:
        parser.error(f"argument --network: {error}")


def _check_setting(folder, setting):
    """Runs of one folder are comparable: they have one setting."""
    path = folder / "setting.json"
    if not path.exists():
        results.write_json(path, setting, indent=1)
        return
    there = json.loads(path.read_text())
    for name, value in setting.items():
        if there.get(name) != value:
            raise FileExistsError(
                f"{path} has {name}={there.get(name)!r}, not {value!r}; "
                "choose another --state for other runs"
            )


def _parser():
    lines = (f"  {name:18}{row.title}" for name, row in rows.ROWS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="rows:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", metavar="DIR", help="CamVid, as in train_segmenter.py")
    add(
        "--state",
        type=Path,
        default=Path("out/evidence"),
        metavar="DIR",
        help="results, weights and checkpoints (default: out/evidence)",
    )
    add(
        "--rows",
        nargs="+",
        choices=rows.ROWS,
        metavar="ROW",
        help="what to run (default: everything, most important first)",
    )
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    add(
        "--part",
        type=_part,
        default=(1, 1),
        metavar="I/N",
        help="every Nth run from the Ith on, for N processes side by side",
    )
    add(
        "--start",
        nargs=2,
        metavar=("DIR", "ROW"),
        help="begin with what ROW ended with in DIR, the --state of other "
        "runs, not with new weights",
    )
    add("--val", action="store_true", help="keep val out of training, score it")
    add("--size", type=command.size, default=(180, 240), metavar="HxW")
    add(
        "--images",
        type=command.positive,
        default=400,
        metavar="N",
        help="scenes of digits to train on (default: 400)",
    )
    add("--steps", type=command.positive, default=4500, metavar="N")
    add(
        "--every",
        type=command.positive,
        default=50,
        metavar="N",
        help="steps between two checkpoints (default: 50)",
    )
    add("--batch-size", type=command.positive, default=8, metavar="N")
    add("--learning-rate", type=command.rate, default=1e-3, metavar="X")
    command.add_network(parser)
    return parser


def _part(text):
    index, separator, count = text.partition("/")
    if not (separator and index.isdecimal() and count.isdecimal()):
        raise argparse.ArgumentTypeError(f"not a part such as 1/2: {text}")
    if not 1 <= int(index) <= int(count):
        raise argparse.ArgumentTypeError(f"no such part: {text}")
    return int(index), int(count)


if __name__ == "__main__":
    sys.exit(main())
