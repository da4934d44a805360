"""Draws the pictures of docs/mathematics.md.

A small network learns to tell digits from background in scenes made of
scikit-learn's scans, half a minute on a CPU. Its predictions before and after
are what the pictures show, with the layers of keras_rmi for every step.
Written: regions.png, distributions.png, directions.png and structure.png.
The backend of Keras is the one that KERAS_BACKEND names.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("regions", "distributions", "directions", "structure")
SIZE = (96, 96)


def main(arguments=None):
    options = _parser().parse_args(arguments)
    paths = {name: options.output / f"{name}.png" for name in NAMES}
    existing = [str(path) for path in paths.values() if path.exists()]
    if existing and not options.overwrite:
        print(
            f"mathematics.py: error: {existing[0]} exists; choose another "
            "--output, or replace it with --overwrite",
            file=sys.stderr,
        )
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    # Late: --help and an existing file are answered at once.
    sys.path.insert(0, str(ROOT / "examples"))
    import drawings
    import scene

    found = scene.train_and_look(SIZE)
    drawings.regions(paths["regions"], found)
    drawings.distributions(paths["distributions"], found)
    drawings.directions(paths["directions"], found)
    drawings.structure(paths["structure"], found.mask)
    for path in paths.values():
        print(f"wrote {path}")
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "docs" / "images",
        metavar="DIR",
        help="where to write (default: docs/images)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace existing pictures"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
