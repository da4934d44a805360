"""A backend that is missing, or wrong, is told in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import BACKEND

ROOT = Path(__file__).resolve().parents[1]
# Stands for a framework that is not installed.
HIDE = f"import sys\nsys.modules[{BACKEND!r}] = None\n"


def import_with(backend, code="", module="keras_rmi"):
    """The traceback of the import in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}import {module}"],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("module", ["keras_rmi", "keras_rmi.losses.rmi"])
def test_a_missing_backend_says_what_to_install(module):
    text = import_with(BACKEND, HIDE, module)
    last = text.splitlines()[-1]
    assert last.startswith("ImportError: Keras cannot start: ")
    assert f"Install it (pip install {BACKEND}), or set KERAS_BACKEND" in last
    assert "ModuleNotFoundError" in text
    assert "direct cause" in text


@pytest.mark.parametrize("backend", ["mxnet", "numpy"])
def test_a_backend_that_does_not_serve_is_refused(backend):
    last = import_with(backend).splitlines()[-1]
    refusal = f"ImportError: keras_rmi does not run on {backend!r}. "
    assert last.startswith(refusal)
    assert f"{BACKEND} " in last.partition("Set KERAS_BACKEND to ")[2]


def test_what_another_backend_misses_is_not_reported():
    # Keras' NumPy backend needs SciPy.
    hide = "import sys\nsys.modules['scipy'] = None\n"
    last = import_with("numpy", hide).splitlines()[-1]
    assert last.startswith("ImportError: keras_rmi does not run on 'numpy'")


def test_another_missing_package_keeps_its_own_error():
    hide = "import sys\nsys.modules['numpy'] = None\n"
    last = import_with(BACKEND, hide).splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: ")
    assert "numpy" in last
