"""Trains a segmenter of KerasHub with any losses of the collection.

Without --preset it is a small one with random weights, and nothing is
downloaded. With --preset it is the trained backbone of that preset under a new
head for the classes of the data, for instance

    deeplab_v3_plus_resnet50_pascalvoc
    segformer_b0_ade20k_512
    segformer_b0_cityscapes_1024

Presets come from Kaggle; a folder that save_to_preset() wrote does as well.

Losses are names and sums of names, as in compare_losses.py; data, table and
picture are those of train_segmenter.py. Void counts in no loss and no score.
"""

import functools
import sys

import choices
import command

PROGRAM = "segment_with_keras_hub.py"
MODELS = ("deeplab_v3_plus", "segformer")


def main(arguments=None):
    options = command.parse(_parser(), arguments)
    # Imported late: --help and wrong options are answered at once.
    import hub_segmenters

    if options.preset:
        make = functools.partial(_from_preset, options.preset)
    else:
        make = getattr(hub_segmenters, options.model or MODELS[0])
    build = functools.partial(_build, make)
    try:
        if options.preset:
            # A wrong one is answered before the data are read.
            hub_segmenters.from_preset(options.preset, num_classes=1)
        return command.run(PROGRAM, options, build=build)
    except hub_segmenters.PresetError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2


def _build(make, size, num_classes):
    import hub_segmenters

    return hub_segmenters.network(make(size, num_classes), tuple(size))


def _from_preset(preset, size, num_classes):
    import hub_segmenters

    return hub_segmenters.from_preset(preset, num_classes)


def _parser():
    parser = command.parser(
        __doc__,
        choices.LOSSES,
        "keras_hub.png",
        type=command.loss_name,
        default=["ce", "rmi"],
        metavar="LOSS",
    )
    parser.set_defaults(learning_rate=1e-3)
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--model",
        choices=MODELS,
        help=f"a small one with random weights (default: {MODELS[0]})",
    )
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="name, handle or folder of a preset of KerasHub",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
