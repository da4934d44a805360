"""Backend set-up, seeds and the `mode` fixture."""

import atexit
import os
import shutil
import tempfile

if os.environ.get("KERAS_BACKEND") == "torch":
    # Loaded after other frameworks it can crash the process.
    import torch  # noqa: F401

import keras
import pytest

from support import MODES, use_full_precision

use_full_precision()


def keep_programs():
    """On JAX equal programs of different tests are compiled once.

    Each process has a folder of its own: files are not written at once, and
    another process could read half of one.
    """
    if keras.backend.backend() != "jax":
        return
    import jax

    folder = tempfile.mkdtemp(prefix="programs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


keep_programs()


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(params=MODES)
def mode(request):
    """How a function runs: eager, as a graph, compiled."""
    return request.param
