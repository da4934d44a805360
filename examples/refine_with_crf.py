"""Trains a small network and refines its probabilities with a dense CRF.

Printed: the mean intersection over union (mIoU) on the validation images
before, and after 1, 5 and 10 mean-field iterations. Written: one picture with
the predictions before and after, for the first of the losses.

The data are those of train_segmenter.py: handwritten digits in cluttered
scenes, or CamVid with --data.
"""

import sys

import camvid
import command
import scores

LOSSES = ("ce", "bce", "rmi")
ITERATIONS = (1, 5, 10)


def main(arguments=None):
    options = command.parse(_parser(), arguments)
    try:
        command.check_output(options)
        dataset, train_data, val_data = command.load(options)
    except (camvid.DataError, FileExistsError) as error:
        print(f"refine_with_crf.py: error: {error}", file=sys.stderr)
        return 2
    # Imported late: --help and a wrong folder are answered at once.
    import choices
    import training

    shown = {}
    for name in options.loss:
        print(f"\n{name}: {choices.describe(name)}")
        loss, names = choices.make(name), dataset.CLASS_NAMES
        result = training.train(loss, train_data, val_data, names, options)
        shown.setdefault(name, _refine(result.model, val_data, options))
    _print_table(shown)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    _draw(options.output, val_data, shown[options.loss[0]], dataset.COLORS)
    print(f"\nwrote {options.output}")
    return 0


def _parser():
    parser = command.parser(
        __doc__, LOSSES, "refined.png", choices=LOSSES, default=["ce"]
    )
    group = parser.add_argument_group("bilateral kernel of the CRF")
    add = group.add_argument
    add("--sxy", type=float, default=30, help="in pixels (default: 30)")
    add("--srgb", type=float, default=13, help="in levels (default: 13)")
    add("--compat", type=float, default=10, help="its weight (default: 10)")
    return parser


def _refine(model, val_data, options):
    """Class ids of the first images, and the mIoU of all, by iterations."""
    import keras
    import training

    from keras_rmi.layers import DenseCRF

    images, labels = val_data
    logits = model.predict(images, batch_size=options.batch_size, verbose=0)
    inputs = [
        keras.Input((*options.size, logits.shape[-1])),
        keras.Input((*options.size, 3), dtype="uint8"),
    ]
    found = {}
    for count in (0, *ITERATIONS):
        p = keras.layers.Softmax()(inputs[0])
        crf = DenseCRF(
            count,
            bilateral_sxy=options.sxy,
            bilateral_srgb=options.srgb,
            bilateral_compat=options.compat,
        )
        refine = keras.Model(inputs, crf([p, inputs[1]]))
        q = refine.predict(
            [logits, images], batch_size=options.batch_size, verbose=0
        )
        ids = q.argmax(axis=-1)
        counts = scores.confusion(labels, ids, logits.shape[-1])
        mean = scores.mean_iou(counts)
        found[count] = ids[: training.SHOWN], mean
    return found


def _print_table(shown):
    print("\nmIoU on the validation images, by mean-field iterations")
    header = "".join(f"{count:>9}" for count in (0, *ITERATIONS))
    print(f"{'':9}{header}")
    for name, found in shown.items():
        print(f"{name:9}" + "".join(f"{m:9.3f}" for _, m in found.values()))


def _draw(path, val_data, found, colors):
    """Images, truth, and predictions by iterations."""
    import picture

    titles = {
        f"{count} iterations\nmIoU {mean:.3f}": ids
        for count, (ids, mean) in found.items()
    }
    picture.draw_grid(path, *val_data, titles, colors)


if __name__ == "__main__":
    sys.exit(main())
