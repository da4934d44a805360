"""The command line of `losses.py`."""

import argparse
from pathlib import Path

from subjects import SUBJECTS

BACKENDS = ("torch", "jax", "tensorflow")
SIZES = [128, 256, 512, 1024, 2048]
CLASS_COUNTS = [2, 5, 21, 50, 150]


def make_parser(description):
    """All options, in the groups of --help."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_subjects(parser.add_argument_group("what is measured").add_argument)
    _add_effort(parser.add_argument_group("how").add_argument)
    _add_growth(parser.add_argument_group("growth").add_argument)
    _add_output(parser.add_argument_group("what is written").add_argument)
    return parser


def _add_subjects(add):
    add(
        "--backend",
        nargs="+",
        choices=BACKENDS,
        default=list(BACKENDS),
        metavar="NAME",
        help="one or several of torch, jax, tensorflow (default: all)",
    )
    add("--device", choices=("cpu", "gpu"), default="cpu", help="default: cpu")
    add(
        "--published",
        type=Path,
        metavar="DIR",
        help="a checkout of ZJULearning/RMI, measured on torch",
    )
    add(
        "--relbers",
        type=Path,
        metavar="DIR",
        help="a checkout of RElbers/region-mutual-information-pytorch, "
        "measured on torch",
    )
    add(
        "--subjects",
        nargs="+",
        choices=SUBJECTS,
        default=list(SUBJECTS),
        metavar="NAME",
        help="only these (default: all): ours; pixel, our pixel term alone; "
        "keras, the cross entropy of Keras; published; relbers; copies, the "
        "floor of the machine",
    )
    add(
        "--factors",
        nargs="+",
        type=positive,
        default=[4, 3, 2, 1],
        metavar="DF",
        help="down-sampling factors (default: 4 3 2 1)",
    )
    add(
        "--radii",
        nargs="+",
        type=positive,
        default=[3, 5],
        metavar="R",
        help="radii of our regions, peers have 3 (default: 3 5)",
    )
    add(
        "--size",
        type=size,
        default=[513, 513],
        metavar="HxW",
        help="of the logits (default: 513x513)",
    )
    add(
        "--classes",
        type=class_count,
        default=21,
        metavar="C",
        help="channels of the logits (default: 21)",
    )
    add(
        "--batch",
        type=positive,
        metavar="N",
        help="images (default: 2, on a GPU 16); on a CPU peers get 1 at DF 1",
    )


def _add_effort(add):
    add(
        "--rounds",
        type=positive,
        default=5,
        metavar="N",
        help="times that each case is measured, in a process of its own "
        "(default: 5)",
    )
    add(
        "--repeats",
        type=positive,
        default=7,
        metavar="N",
        help="timed steps in each process, after two others (default: 7)",
    )
    add(
        "--threads",
        type=positive,
        metavar="N",
        help="cores that a process may use (default: all)",
    )


def _add_growth(add):
    add(
        "--growth",
        action="store_true",
        help="measure growth instead: RMILoss at DF 4 and 1 and Keras' cross "
        "entropy on one image, of each of --sizes with --classes classes and "
        "of --size with each of --class-counts classes",
    )
    add(
        "--sizes",
        nargs="+",
        type=positive,
        default=SIZES,
        metavar="N",
        help="H = W (default: 128 256 512 1024 2048)",
    )
    add(
        "--class-counts",
        nargs="+",
        type=class_count,
        default=CLASS_COUNTS,
        metavar="C",
        help="default: 2 5 21 50 150",
    )


def _add_output(add):
    add(
        "--output",
        type=Path,
        default=Path("out/benchmarks"),
        metavar="DIR",
        help="folder, made if missing (default: out/benchmarks)",
    )
    add("--overwrite", action="store_true", help="replace existing files")
    add(
        "--from-json",
        type=Path,
        metavar="FILE",
        help="measure nothing; write tables and chart of these raw figures",
    )
    add("--no-chart", action="store_true", help="needs no matplotlib")
    add(
        "--check",
        action="store_true",
        help="exit with status 1 if a target is missed",
    )


def command(options, parser):
    """The command line with folders left out: they differ by machine."""
    words = ["python benchmarks/losses.py"]
    hidden = ("output", "overwrite", "from_json", "check")
    for name, value in vars(options).items():
        if value == parser.get_default(name) or name in hidden:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if isinstance(value, Path):
            words.append("DIR")
        elif name == "size":
            words.append("x".join(map(str, value)))
        elif isinstance(value, list):
            words += map(str, value)
        elif value is not True:
            words.append(str(value))
    return " ".join(words)


def positive(text):
    """An integer >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a positive number: {text}")
    return int(text)


def class_count(text):
    """An integer from 2 on; 255 is void."""
    if not 2 <= positive(text) <= 255:
        raise argparse.ArgumentTypeError(f"not from 2 to 255: {text}")
    return int(text)


def size(text):
    """[height, width]."""
    height, _, width = text.partition("x")
    return [positive(height), positive(width)]
