"""The backend that Keras runs on, or what to do where it cannot.

Like `_backend`, a file that names backends.
"""

import importlib.util
import os

_SUPPORTED = ("tensorflow", "torch", "jax")
_installed = [name for name in _SUPPORTED if importlib.util.find_spec(name)]
_CHOICE = " or ".join(_installed) or "another one that is installed"


def _supported(backend):
    if backend in _SUPPORTED:
        return backend
    raise ImportError(
        f"keras_rmi does not run on {backend!r}. Set KERAS_BACKEND to "
        f"{_CHOICE} before Python starts."
    )


try:
    import keras
except (ModuleNotFoundError, ValueError) as error:
    # What Keras misses for another backend is not what helps.
    _supported(os.environ.get("KERAS_BACKEND") or "tensorflow")
    # Keras says what is missing, but not what to do.
    _missing = (getattr(error, "name", None) or "").partition(".")[0]
    if _missing not in _SUPPORTED:
        raise
    raise ImportError(
        f"Keras cannot start: {error}. Install it (pip install {_missing}), "
        f"or set KERAS_BACKEND to {_CHOICE} before Python starts."
    ) from error

BACKEND = _supported(keras.backend.backend())
