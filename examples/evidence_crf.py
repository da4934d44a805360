"""Refines what CE learned with a dense CRF, and scores that.

It adds rows to the results of evidence.py, one for each number of iterations,
without any training. The CRF has the options of its layer's defaults: none is
chosen on the images that are scored.
"""

import json
import sys
import time

import command
import evidence
import keras
import numpy as np
import results
import rows
import runs
import scores

import keras_rmi


def main(arguments=None):
    parser = _parser()
    options = parser.parse_args(arguments)
    setting = command.read_setting(parser, options.state, options.network)
    images, labels = evidence.scored_as(setting, options.data)
    network = runs.build(setting, setting["size"])
    for name, (title, source, iterations) in rows.REFINED.items():
        for seed in options.seeds:
            target = results.result_path(options.state, name, seed)
            weights = results.weights_path(options.state, source, seed)
            if target.exists() or not weights.exists():
                continue
            network.load_weights(weights)
            crf = keras_rmi.layers.DenseCRF(iterations=iterations)
            ids, seconds = _refine(network, crf, images)
            found = scores.score(labels, ids, setting["classes"])
            path = results.result_path(options.state, source, seed)
            result = {
                **json.loads(path.read_text()),
                "row": name,
                **scores.as_numbers(found),
                "extra_seconds": seconds,
            }
            del result["curve"]
            results.write_json(target, result)
            score = result["mean_iou"]["all"]
            print(f"{title}, seed {seed}: mIoU {score:.4f}", flush=True)
    return 0


def _refine(network, crf, images):
    """Class ids (N, H, W), and the median seconds of the CRF per image."""
    ids, seconds = [], []
    for image in images:
        logits = network.predict_on_batch(image[None])
        probabilities = keras.ops.softmax(logits, axis=-1)
        start = time.perf_counter()
        refined = keras.ops.convert_to_numpy(crf([probabilities, image[None]]))
        seconds.append(time.perf_counter() - start)
        ids.append(np.argmax(refined[0], axis=-1).astype("uint8"))
    return np.stack(ids), float(np.median(seconds))


def _parser():
    parser = command.state_parser(__doc__)
    add = parser.add_argument
    add("--data", metavar="DIR", help="CamVid, if the runs are on it")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    return parser


if __name__ == "__main__":
    sys.exit(main())
