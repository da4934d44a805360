"""The sources keep to the layers; the rules are shown to be able to fail."""

from pathlib import Path, PurePosixPath

import pytest

import keras_rmi
import source_rules as rules

ROOT = Path(__file__).resolve().parents[1]
# The rules spell out what they forbid, and so do the tests of the rules. Each
# framework shares work out among devices in its own way.
NAME_BACKENDS = {
    "examples/loop_jax.py",
    "examples/loop_tensorflow.py",
    "examples/loop_torch.py",
    "keras_rmi/_backend.py",
    "keras_rmi/_backend_blocks.py",
    "keras_rmi/_backend_choice.py",
    "keras_rmi/_backend_gradients.py",
    "keras_rmi/_backend_modes.py",
    "keras_rmi/_backend_order.py",
    "keras_rmi/_backend_regions.py",
    "keras_rmi/_backend_sparse.py",
    "keras_rmi/_backend_windows.py",
    # Writes which backend ran into the result.
    "examples/runs.py",
    "tests/conftest.py",
    "tests/distribution/on_jax.py",
    "tests/distribution/on_tensorflow.py",
    "tests/distribution/on_torch.py",
    "tests/exporting.py",
    "tests/source_rules.py",
    "tests/support.py",
    "tests/test_architecture.py",
}


def sources(*folders):
    return {
        path.relative_to(ROOT): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


LIBRARY = sources("keras_rmi")
EVERYTHING = sources("keras_rmi", "tests", "examples", "scripts")


def violations(rule, files):
    return [line for path, text in files.items() for line in rule(text, path)]


def test_the_library_has_sources():
    assert len(LIBRARY) > 5


def test_imports_go_down():
    assert violations(rules.layer_violations, LIBRARY) == []


def test_no_modules_import_each_other():
    assert rules.cycles(LIBRARY) == []


def test_nothing_uses_private_keras():
    files = {
        path: text
        for path, text in EVERYTHING.items()
        if "source_rules" not in path.name and path.name != Path(__file__).name
    }
    assert violations(rules.private_keras, files) == []


def test_only_a_few_files_name_backends():
    files = {
        path: text
        for path, text in EVERYTHING.items()
        if path.as_posix() not in NAME_BACKENDS
        and path.parts[:2] != ("tests", "agreement")
    }
    assert violations(rules.backend_names, files) == []


def test_nothing_evaluates_or_unpickles_data():
    files = LIBRARY | sources("examples")
    # Imports the network that its user names on the command line.
    del files[PurePosixPath("examples/network.py")]
    assert violations(rules.unsafe_calls, files) == []


def test_packages_are_tables_of_contents():
    files = {p: t for p, t in LIBRARY.items() if p.name == "__init__.py"}
    assert violations(rules.facade_violations, files) == []


@pytest.mark.parametrize("name", ["losses", "layers", "metrics", "callbacks"])
def test_every_loss_and_layer_is_public(name):
    files = sources(f"keras_rmi/{name}")
    exported = getattr(keras_rmi, name).__all__
    assert rules.unexported(files, exported) == []


@pytest.mark.parametrize(
    "module",
    [
        keras_rmi,
        keras_rmi.losses,
        keras_rmi.layers,
        keras_rmi.metrics,
        keras_rmi.ops,
        keras_rmi.callbacks,
    ],
    ids=lambda module: module.__name__,
)
def test_every_listed_name_exists(module):
    missing = [n for n in module.__all__ if not hasattr(module, n)]
    assert missing == []
    assert len(set(module.__all__)) == len(module.__all__)


RMI = PurePosixPath("keras_rmi/losses/rmi.py")
REGIONS = PurePosixPath("keras_rmi/ops/regions.py")
CHECKS = PurePosixPath("keras_rmi/_validation.py")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (REGIONS, "from keras_rmi.losses import rmi"),
        (REGIONS, "from ..losses.rmi import RMILoss"),
        (REGIONS, "from .. import layers"),
        (REGIONS, "import keras_rmi"),
        (REGIONS, "def f():\n    from keras_rmi import RMILoss"),
        (RMI, "from keras_rmi import layers"),
        (RMI, "from keras_rmi.layers.regions import RegionVectors2D"),
        (RMI, "import scipy"),
        (CHECKS, "from keras_rmi import _backend"),
        (CHECKS, "import keras"),
        (PurePosixPath("keras_rmi/utils.py"), ""),
    ],
)
def test_an_import_that_goes_up_is_seen(path, source):
    assert len(rules.layer_violations(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (RMI, "from keras_rmi import _backend, ops\nimport keras, math"),
        (RMI, "from ..ops.regions import region_vectors"),
        (REGIONS, "from . import labels\nfrom keras_rmi.ops import labels"),
        (PurePosixPath("keras_rmi/__init__.py"), "from .losses import RMILoss"),
    ],
)
def test_an_import_that_goes_down_passes(path, source):
    assert rules.layer_violations(source, path) == []


def test_a_cycle_is_seen():
    labels = REGIONS.with_name("labels.py")
    one, other = "from keras_rmi.ops import labels", "from . import regions"
    assert rules.cycles({REGIONS: one, labels: other}) == [
        "keras_rmi.ops.labels",
        "keras_rmi.ops.regions",
    ]
    assert rules.cycles({REGIONS: one, labels: ""}) == []


@pytest.mark.parametrize(
    "source",
    [
        "import keras.src",
        "from keras.src.losses import loss",
        "from keras import src",
        "import keras as k\nk.src.ops",
        "import importlib\nimportlib.import_module('keras.src.ops')",
    ],
)
def test_private_keras_is_seen(source):
    assert rules.private_keras(source, RMI)


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "def f():\n    from jax import numpy",
        "import tensorflow.math as m",
        "x = module.torch_version",
        "x = 'jax'",
        "def to_torch(): pass",
        "f(jax=1)",
        "import keras\nkeras.backend.backend() == x",
        "import keras\nkeras.config.backend()",
    ],
)
def test_a_backend_name_is_seen(source):
    assert rules.backend_names(source, RMI)


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec(text, {})",
        "import pickle",
        "def f():\n    from joblib import load",
        "numpy.load(path, allow_pickle=True)",
        "keras.saving.load_model(path, safe_mode=False)",
        "keras.config.enable_unsafe_deserialization()",
        "__import__(name)",
    ],
)
def test_code_that_runs_data_is_seen(source):
    assert rules.unsafe_calls(source, RMI)


def test_code_that_reads_data_passes():
    source = "numpy.load(path)\nkeras.saving.load_model(path, safe_mode=True)"
    assert rules.unsafe_calls(source, RMI) == []


@pytest.mark.parametrize(
    "source",
    [
        '"""As on JAX."""\nimport keras',
        "def f():\n    '''Torch needs this.'''",
        "x = ajax",
        "import keras\nkeras.backend.image_data_format()",
    ],
)
def test_prose_and_other_words_may_pass(source):
    assert rules.backend_names(source, RMI) == []


@pytest.mark.parametrize(
    "source",
    [
        "from .rmi import *\n__all__ = ['*']",
        "from .rmi import RMILoss",
        "from .rmi import RMILoss, rmi_loss\n__all__ = ['RMILoss']",
        "__all__ = ['RMILoss']",
        "__all__ = []\nLIMIT = 3",
        "__all__ = []\nif True:\n    pass",
    ],
)
def test_a_bad_table_of_contents_is_seen(source):
    assert len(rules.facade_violations(source, RMI)) == 1


def test_a_plain_table_of_contents_passes():
    source = "'''Losses.'''\nfrom .rmi import RMILoss\n__all__ = ['RMILoss']\n"
    assert rules.facade_violations(source, RMI) == []


def test_an_unlisted_loss_is_seen():
    source = """
class Base: pass
class Listed(Base): pass
class Lost(Base): pass
def _own(): pass
"""
    found = rules.unexported({RMI: source}, ["Listed"])
    assert found == [f"{RMI}:4: Lost is not in __all__"]
