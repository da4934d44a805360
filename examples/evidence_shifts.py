"""Scores runs of evidence.py with their predictions moved by some pixels.

A loss that asks for boundaries in the wrong place teaches a network to draw
them there: then predictions fit best when they are moved back. What is scored
is the mIoU within three pixels of a boundary, where the label of a pixel meets
the prediction that lies so many pixels below it, or to the right of it.
"""

import sys
from pathlib import Path

import command
import evidence
import numpy as np
import results
import rows
import scores


def main(arguments=None):
    parser = _parser()
    options = parser.parse_args(arguments)
    setting = command.read_setting(parser, options.state, options.network)
    weights = {
        (name, seed): command.trained_weights(parser, options.state, name, seed)
        for name in options.rows
        for seed in options.seeds
    }
    # Imported late: --help is answered at once.
    import runs

    images, labels = evidence.scored_as(setting, options.data)
    network = runs.build(setting, setting["size"])
    found = []
    for (name, seed), path in weights.items():
        network.load_weights(path)
        ids = runs.predict(network, images, setting["batch_size"])
        moved = scores.moved(labels, ids, setting["classes"])
        found.append({"row": name, "seed": seed, **moved})
        best = {
            key: scores.SHIFTS[np.argmax(values)]
            for key, values in moved.items()
        }
        print(f"{rows.title(name)}, seed {seed}: best {best}", flush=True)
    results.write_json(
        options.output, {"shifts": list(scores.SHIFTS), "runs": found}, indent=1
    )
    return 0


def _parser():
    parser = command.state_parser(__doc__)
    add = parser.add_argument
    add("output", type=Path, help="the JSON to write")
    add("--data", metavar="DIR", help="CamVid, if the runs are on it")
    add("--rows", nargs="+", choices=rows.ROWS, required=True)
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    return parser


if __name__ == "__main__":
    sys.exit(main())
