"""Builds the package, looks into it, and uses it in an empty environment.

The wheel is installed with one backend and no other, for the Python that runs
this; a loss is computed, and calls of a user are checked by mypy.
"""

import argparse
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
    """The sdist holds what git does not ignore, and nothing else."""
    with tarfile.open(path) as archive:
        held = {
            member.name.partition("/")[2]
            for member in archive.getmembers()
            if member.isfile()
        }
    for name in ("LICENSE", "README.md", "pyproject.toml", "tox.ini"):
        require(name in held, f"{path.name} lacks {name}")
    git = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True)
    require(listed.returncode == 0, "needs a checkout to compare with")
    expected = {n for n in listed.stdout.splitlines() if (ROOT / n).exists()}
    # Made by the build backend, which takes .gitignore into every sdist.
    held -= {"PKG-INFO", ".gitignore"}
    expected -= {".gitignore"}
    require(held == expected, f"{path.name} differs in {held ^ expected}")


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
        for pattern in ("*.py", "py.typed")
        for source in (ROOT / "keras_rmi").rglob(pattern)
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


def install(wheel, folder, options):
    """An environment with the wheel and one backend; its Python."""
    venv.create(folder, with_pip=True)
    windows = os.name == "nt"
    python = folder / ("Scripts/python.exe" if windows else "bin/python")
    wanted = [str(wheel), options.requirement]
    if options.requirement is None:
        wanted = [f"{wheel}[{options.backend}]"]
    pip = (str(python), "-I", "-m", "pip")
    constraints = ("-c", str(ROOT / "constraints.txt"))
    run(*pip, "install", "--quiet", "--no-compile", *constraints, *wanted)
    run(*pip, "check")
    return str(python)


def main(arguments=None):
    options = _parser().parse_args(arguments)
    folder = options.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    built = folder / "dist"
    # The wheel is built from the sdist, as an installer would.
    run(sys.executable, "-m", "build", "--outdir", str(built), str(ROOT))
    wheel, sdist = only(built, "*.whl"), only(built, "*.tar.gz")
    run(
        *(sys.executable, "-m", "twine", "check", "--strict"),
        *(str(wheel), str(sdist)),
    )
    check_sdist(sdist)
    check_wheel(wheel)
    python = install(wheel, folder / "empty", options)
    environment = {**os.environ, "KERAS_BACKEND": options.backend}
    run(python, "-I", "-c", USE, cwd=folder, env=environment)
    run(
        *(sys.executable, "-m", "mypy", "--python-executable", python),
        *("--warn-unused-ignores", "--no-incremental"),
        str(ROOT / "tests" / "typed_calls.py"),
        cwd=folder,
    )
    print(f"package: {wheel.name} and {sdist.name} are in order")


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="where to work; it is emptied first",
    )
    add("backend", metavar="BACKEND", help="the framework, an extra")
    add(
        "requirement",
        nargs="?",
        metavar="REQUIREMENT",
        help="what to install instead of the extra, such as a smaller build",
    )
    return parser


if __name__ == "__main__":
    main()
