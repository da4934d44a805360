"""Builds the package, looks into it, and uses it in an empty environment.

python scripts/check_package.py FOLDER BACKEND

FOLDER is made anew; BACKEND is the extra to install beside the package.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

USE = """import keras, keras_rmi, numpy
labels = numpy.arange(2 * 24 * 24).reshape(2, 24, 24) // 7 % 3
logits = numpy.random.default_rng(0).normal(size=(2, 24, 24, 3))
loss = float(keras_rmi.RMILoss(from_logits=True)(labels, logits))
if not 0 < loss < 100:
    raise SystemExit(f"loss is {loss}")
print("keras_rmi", keras_rmi.__version__, "keras", keras.__version__,
      "numpy", numpy.__version__, "loss", loss)
"""


def run(*command, **options):
    shown = [Path(command[0]).name, *command[1:6]]
    print("$", *(word.partition("\n")[0] for word in shown), flush=True)
    subprocess.run(command, check=True, **options)


def require(condition, message):
    if not condition:
        sys.exit(f"package: {message}")


def only(folder, pattern):
    found = list(folder.glob(pattern))
    require(len(found) == 1, f"expected one {pattern}, found {found}")
    return found[0]


def check_sdist(path):
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("LICENSE", "README.md", "pyproject.toml", "tox.ini"):
        require(name in names, f"{path.name} lacks {name}")
    strange = [n for n in names if n.startswith((".venv", ".tox", "out/"))]
    require(not strange, f"{path.name} holds {strange}")


def check_wheel(path):
    """The wheel holds the library and its metadata, and nothing else."""
    with zipfile.ZipFile(path) as archive:
        names = {n for n in archive.namelist() if not n.endswith("/")}
        metadata = only_name(names, ".dist-info/METADATA")
        headers = BytesParser().parsebytes(archive.read(metadata))
    information = metadata.rpartition("/")[0]
    require(
        any(n.startswith(f"{information}/licenses/LICENSE") for n in names),
        "the wheel has no licence",
    )
    held = {n for n in names if not n.startswith(f"{information}/")}
    expected = {
        source.relative_to(ROOT).as_posix()
        for source in (ROOT / "keras_rmi").rglob("*.py")
    }
    require(held == expected, f"the wheel differs in {held ^ expected}")
    needed = {
        requirement.split(";")[0].rstrip("<>=!~.0123456789, ")
        for requirement in headers.get_all("Requires-Dist")
        if "extra ==" not in requirement
    }
    require(needed == {"keras", "numpy"}, f"the wheel requires {needed}")


def only_name(names, ending):
    found = [name for name in names if name.endswith(ending)]
    require(len(found) == 1, f"expected one {ending}, found {found}")
    return found[0]


def main(folder, backend):
    folder = Path(folder).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    built, empty = folder / "dist", folder / "empty"
    # The wheel is built from the sdist, as an installer would.
    run(sys.executable, "-m", "build", "--outdir", str(built), str(ROOT))
    wheel, sdist = only(built, "*.whl"), only(built, "*.tar.gz")
    run(
        *(sys.executable, "-m", "twine", "check", "--strict"),
        *(str(wheel), str(sdist)),
    )
    check_sdist(sdist)
    check_wheel(wheel)
    venv.create(empty, with_pip=True)
    python = str(
        empty / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    )
    constraints = str(ROOT / "constraints.txt")
    install = (python, "-I", "-m", "pip", "install", "--quiet")
    run(*install, "-c", constraints, f"{wheel}[{backend}]")
    run(python, "-I", "-m", "pip", "check")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    run(python, "-I", "-c", USE, cwd=folder, env=environment)
    print(f"package: {wheel.name} and {sdist.name} are in order")


if __name__ == "__main__":
    main(*sys.argv[1:])
