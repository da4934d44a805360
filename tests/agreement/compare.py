"""Compares the figures of several backends, pair by pair.

python tests/agreement/compare.py FOLDER BACKEND BACKEND ...
"""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from agreement.figures import KINDS, fingerprint, load

HEADINGS = ("pair", "figure", "cases", "largest difference", "is", "limit")
LIMITS = {"value": 1e-5, "gradient": 1e-5, "curve": 1e-3}


def difference(kind, a, b):
    """Largest difference, relative where the figures exceed one.

    A gradient is small everywhere, so it is compared to its own length.
    """
    if a.shape != b.shape or not np.all(np.isfinite([a, b])):
        return np.inf
    a, b = a.astype("float64"), b.astype("float64")
    if kind == "gradient":
        length = max(np.linalg.norm(a), np.linalg.norm(b))
        return np.linalg.norm(a - b) / length if length else 0.0
    scale = np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
    return np.max(np.abs(a - b) / scale)


def compare(folder, backends, expected):
    """The table of the largest differences, and the problems found."""
    loaded, problems = {}, []
    for backend in backends:
        try:
            loaded[backend], origin = load(folder, backend)
        except FileNotFoundError:
            problems.append(
                f"{backend}: no figures in {folder}. Run: tox run -e {backend}"
            )
            continue
        if origin != expected:
            problems.append(
                f"{backend}: figures written by another version of the cases "
                f"or of the package. Run: tox run -e {backend}"
            )
    if problems:
        return [], problems
    rows = [HEADINGS]
    for one, other in combinations(backends, 2):
        a, b = loaded[one], loaded[other]
        if a.keys() != b.keys():
            odd = ", ".join(
                ": ".join(key) for key in sorted(a.keys() ^ b.keys())
            )
            problems.append(f"{one} and {other} differ in cases: {odd}")
        for kind in KINDS:
            found = {
                case: difference(kind, a[k, case], b[k, case])
                for k, case in a.keys() & b.keys()
                if k == kind
            }
            if not found:
                problems.append(f"{one} and {other}: no {kind} to compare")
                continue
            worst = max(found, key=found.get)
            size, limit = f"{found[worst]:.1e}", f"{LIMITS[kind]:.0e}"
            rows.append(
                (f"{one} {other}", kind, len(found), worst, size, limit)
            )
            problems.extend(
                f"{one} and {other}: {kind} of {case} differs by {size:.1e}, "
                f"limit {LIMITS[kind]:.0e}"
                for case, size in sorted(found.items())
                if not size <= LIMITS[kind]
            )
    return rows, problems


def main(folder, *backends):
    rows, problems = compare(folder, backends, fingerprint())
    for row in rows:
        print("{:18} {:9} {:>5}  {:26} {:>10} {:>7}".format(*row))
    for problem in problems:
        print(f"agreement: {problem}", file=sys.stderr)
    count = len(problems) or "no"
    print(f"agreement: {count} problems in {', '.join(backends)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
