"""Backend set-up, seeds and the `mode` fixture."""

import os

if os.environ.get("KERAS_BACKEND") == "torch":
    # Loaded after other frameworks it can crash the process.
    import torch  # noqa: F401

import keras
import pytest

from support import MODES, use_full_precision

use_full_precision()


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(params=MODES)
def mode(request):
    """How a function runs: eager, as a graph, compiled."""
    return request.param
