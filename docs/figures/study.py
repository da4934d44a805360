"""Trains the network of the examples with one option of RMILoss changed.

Every run trains on scenes of handwritten digits (examples/scenes.py) and ends
with the mean intersection over union on 100 other scenes. Options are changed
one at a time; the seed sets scenes, weights and batches. The raw figures go
into a JSON file after each run, and a file that holds some of the runs is
completed. The backend of Keras is the one that KERAS_BACKEND names.

The chart and the table of docs/choosing.md are made of them by options.py.
With --aligned, interpolation alone is run, as published and with labels that
lie where the predictions do (examples/alignment.py).
"""

import argparse
import json
import sys
import time
import types
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIZE = (96, 96)
DEFAULT = {"radius": 3, "pooling": "avg", "pool_size": 3, "rmi_weight": 0.5}
CHANGES = (
    {},
    *({"radius": radius} for radius in (1, 2, 4, 5)),
    *({"pooling": pooling} for pooling in ("max", "interpolate", None)),
    *({"pool_size": pool_size} for pool_size in (2, 4, 6)),
    *({"rmi_weight": weight} for weight in (0.0, 0.1, 0.25, 0.75, 1.0)),
)
ALIGNED = ({"pooling": "interpolate"}, {"pooling": "aligned"})


def main(arguments=None):
    options = _parser().parse_args(arguments)
    rows = []
    if options.output.exists():
        if not options.resume:
            print(
                f"study.py: error: {options.output} exists; complete it with "
                "--resume, or choose another --output",
                file=sys.stderr,
            )
            return 2
        rows = json.loads(options.output.read_text(encoding="utf-8"))
    missing = [
        (seed, change)
        for seed in range(options.seeds)
        for change in (ALIGNED if options.aligned else CHANGES)
        if not any(_is_of(row, seed, change) for row in rows)
    ]
    for number, (seed, change) in enumerate(missing[: options.runs], start=1):
        start = time.monotonic()
        rows.append({**DEFAULT, **change, "seed": seed, **_run(change, seed)})
        options.output.parent.mkdir(parents=True, exist_ok=True)
        text = ",\n".join(json.dumps(row) for row in rows)
        options.output.write_text(f"[\n{text}\n]\n", encoding="utf-8")
        print(
            f"[{number}/{len(missing)}] seed {seed}, {change or 'defaults'}: "
            f"mIoU {rows[-1]['miou']:.3f}, {time.monotonic() - start:.0f} s",
            flush=True,
        )
    return 0


def _is_of(row, seed, change):
    wanted = {**DEFAULT, **change, "seed": seed}
    return all(row[name] == value for name, value in wanted.items())


def _run(change, seed):
    """What one training gives."""
    sys.path.insert(0, str(EXAMPLES))
    # Late: --help and a wrong file are answered at once.
    import alignment
    import scenes
    import training

    import keras_rmi

    options = DEFAULT | change
    make = keras_rmi.RMILoss
    if options["pooling"] == "aligned":
        make = alignment.AlignedRMILoss
        del options["pooling"]
    result = training.train(
        make(from_logits=True, ignore_class=scenes.VOID, **options),
        scenes.make_scenes(1000, SIZE, "train", seed=seed),
        scenes.make_scenes(100, SIZE, "val"),
        scenes.CLASS_NAMES,
        types.SimpleNamespace(
            seed=seed, epochs=6, batch_size=4, learning_rate=5e-3
        ),
        [],
    )
    digits = result.class_iou[1:]
    return {
        "miou": round(float(result.mean_iou), 4),
        "digits": round(float(digits.mean()), 4),
        "milliseconds": round(1e3 * result.seconds_per_step, 1),
    }


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        default=Path("out/options.json"),
        metavar="FILE",
        help="the raw figures (default: out/options.json)",
    )
    add("--resume", action="store_true", help="complete an existing FILE")
    add(
        "--aligned",
        action="store_true",
        help="run interpolation alone, as published and aligned",
    )
    add(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="trainings for each choice of options (default: 3)",
    )
    add(
        "--runs",
        type=int,
        metavar="N",
        help="stop after N trainings (default: all)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
