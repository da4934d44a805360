"""Measures the time of a training step for every row of evidence.py.

All rows take turns, so that a slow minute slows all of them; shown is the
median over the rounds. Run it on a machine that does nothing else.
"""

import sys
import time
from pathlib import Path

import command
import numpy as np
import results
import rows


def main(arguments=None):
    parser = _parser()
    options = parser.parse_args(arguments)
    setting = command.read_setting(parser, options.state, options.network)
    # Imported late: --help is answered at once.
    import runs
    from crops import crop_size

    size = crop_size(setting["size"])
    rng = np.random.default_rng(0)
    shape = (setting["batch_size"], *size)
    images = rng.integers(0, 256, (*shape, 3), "uint8")
    # Blocks of one class, as labels are.
    labels = rng.integers(0, setting["classes"], shape, "uint8")
    labels = labels[:, ::8, ::8].repeat(8, axis=1).repeat(8, axis=2)
    labels = np.ascontiguousarray(labels[:, : size[0], : size[1]])
    models = {
        name: runs.compiled(name, setting, size)[0] for name in options.rows
    }
    seconds = {name: [] for name in models}
    # The first steps trace, compile and find their memory.
    for turn in range(-2, options.rounds):
        for name, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(images, labels)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    network = runs.build(setting, setting["size"])
    image = rng.integers(0, 256, (1, *setting["size"], 3), "uint8")
    inference = []
    for _ in range(options.rounds + 2):
        start = time.perf_counter()
        network.predict_on_batch(image)
        inference.append(time.perf_counter() - start)
    medians = {name: float(np.median(s)) for name, s in seconds.items()}
    results.write_json(
        options.output,
        {
            "machine": options.machine,
            "rounds": options.rounds,
            "seconds": medians,
            "inference": float(np.median(inference[2:])),
        },
        indent=1,
    )
    for name, value in medians.items():
        print(f"{rows.title(name):20}{value:8.3f} s")
    print(f"{'inference, 1 image':20}{np.median(inference[2:]):8.3f} s")
    return 0


def _parser():
    parser = command.state_parser(__doc__)
    add = parser.add_argument
    add("output", type=Path, help="the JSON to write")
    add("--machine", default="", help="words for what it was measured on")
    add("--rounds", type=int, default=7)
    add("--rows", nargs="+", choices=rows.ROWS, default=list(rows.ROWS))
    return parser


if __name__ == "__main__":
    sys.exit(main())
