"""The files that the backends leave for the comparison, and their origin.

Read by an environment without Keras, so this imports numpy only.
"""

import hashlib
from pathlib import Path

import numpy as np

KINDS = ("value", "gradient", "curve")

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]


def fingerprint(package=_ROOT / "keras_rmi"):
    """Digest of what the figures depend on: the package and the cases."""
    digest = hashlib.sha256()
    package = Path(package)
    for path in [*sorted(package.rglob("*.py")), _HERE / "cases.py"]:
        base = package if path.is_relative_to(package) else _HERE
        digest.update(path.relative_to(base).as_posix().encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def save(folder, backend, figures, origin):
    """Writes {(kind, case): array} to the file of one backend."""
    path = Path(folder) / f"{backend}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"{kind}:{case}": a for (kind, case), a in figures.items()}
    np.savez(path, origin=np.array(origin), **arrays)
    return path


def load(folder, backend):
    """The figures of one backend and the fingerprint they were made from."""
    figures = {}
    with np.load(Path(folder) / f"{backend}.npz") as archive:
        for key in archive.files:
            kind, _, case = key.partition(":")
            if kind in KINDS:
                figures[kind, case] = archive[key]
        return figures, str(archive["origin"])
