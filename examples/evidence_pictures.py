"""Draws scored images, their truth, and what rows of evidence.py make of them.

The rule that chooses the images: all are ordered by how much better the last
row is than the first, in mIoU over the classes of the image. Shown are the
largest gain, the upper quartile, the median, the lower quartile, and the
largest loss. So failures are among them.

Pictures of CamVid are for looking at: the licence of the data does not allow
to pass them on as part of a project.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import command
import evidence
import numpy as np
import results
import rows
from scores import confusion, mean_iou

SHARES = (1, 0.75, 0.5, 0.25, 0)


def main(arguments=None):
    parser = _parser()
    options = parser.parse_args(arguments)
    setting = command.read_setting(parser, options.state, options.network)
    weights = {
        name: command.trained_weights(parser, options.state, name, options.seed)
        for name in options.rows
    }
    # Imported late: --help is answered at once.
    import picture
    import runs

    images, labels = evidence.scored_as(setting, options.data)
    network = runs.build(setting, setting["size"])
    shown = {}
    for name in options.rows:
        path = results.result_path(options.state, name, options.seed)
        result = json.loads(path.read_text())
        network.load_weights(weights[name])
        shown[rows.title(name)] = SimpleNamespace(
            predictions=runs.predict(network, images, setting["batch_size"]),
            mean_iou=result["mean_iou"]["all"],
            history=result["curve"],
        )
    chosen = _choose(labels, list(shown.values()), setting["classes"])
    for result in shown.values():
        result.predictions = result.predictions[chosen]
    dataset = command.DATASETS[setting["data"]]
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    picture.draw(
        options.picture,
        images[chosen],
        labels[chosen],
        shown,
        dataset.CLASS_NAMES,
        dataset.COLORS,
        curve=("train_miou", "mIoU on training crops"),
        unit=f"{setting['every']} steps",
    )
    print(f"wrote {options.picture}, images {', '.join(map(str, chosen))}")
    return 0


def _choose(labels, shown, num_classes):
    """The images that the rule of this file names."""
    gains = [
        mean_iou(confusion(ids, last, num_classes))
        - mean_iou(confusion(ids, first, num_classes))
        for ids, first, last in zip(
            labels, shown[0].predictions, shown[-1].predictions
        )
    ]
    order = np.argsort(gains, kind="stable")
    return [int(order[round(share * (len(order) - 1))]) for share in SHARES]


def _parser():
    parser = command.state_parser(__doc__)
    add = parser.add_argument
    add("picture", type=Path, help="the PNG to write")
    add("--data", metavar="DIR", help="CamVid, if the runs are on it")
    add("--rows", nargs="+", choices=rows.ROWS, default=["ce", "bce", "rmi"])
    add("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
