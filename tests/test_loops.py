"""The loops without `fit` train with the one framework that they name."""

import re
from pathlib import Path

import pytest

from run_script import run_script
from support import BACKEND, LOOP_OPTIONS, LOOP_SPLITS_BATCHES, RESUMED, ROOM

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPT = f"loop_{BACKEND}.py"
SMALL = ("--images", "16", "--val-images", "4", "--size", "48x48")
OTHERS = [p.name for p in EXAMPLES.glob("loop_*.py") if p.name != SCRIPT]


def run(*arguments, script=SCRIPT, **environment):
    return run_script(EXAMPLES / script, *arguments, **environment)


def epochs(done):
    """Loss and mean IoU of each epoch."""
    assert done.returncode == 0, done.stderr
    found = re.findall(r"loss +([\d.]+)  mIoU ([\d.]+)", done.stdout)
    return [tuple(map(float, numbers)) for numbers in found]


def test_the_loss_falls_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = epochs(run(*SMALL, "--epochs", "5"))
    assert len(found) == 5
    assert found[-1][0] < 0.9 * found[0][0]
    assert 0 < found[-1][1] <= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    not LOOP_OPTIONS, reason=f"{SCRIPT} has no options of its own"
)
def test_the_options_of_a_framework_train_too():
    options = (*SMALL, *LOOP_OPTIONS, "--epochs", "2", "--loss", "ce")
    found = epochs(run(*options))
    assert found[-1][0] < found[0][0]


@pytest.mark.skipif(
    not LOOP_SPLITS_BATCHES, reason=f"{SCRIPT} takes one device, as its user"
)
def test_two_devices_give_the_losses_of_one():
    options = (*SMALL, "--epochs", "2", "--loss", "rmi+lovasz")
    flags = "--xla_force_host_platform_device_count=2"
    two = run(*options, XLA_FLAGS=flags, **ROOM)
    assert "2 devices" in two.stdout
    for a, b in zip(epochs(two), epochs(run(*options)), strict=True):
        assert a[0] == pytest.approx(b[0], rel=RESUMED)


def test_help_names_the_options():
    done = run("--help")
    assert done.returncode == 0
    options = ("--loss", "--images", "--epochs", "--size", "--learning-rate")
    for word in (*options, *LOOP_OPTIONS, "lovasz"):
        assert word in done.stdout


@pytest.mark.parametrize("script", OTHERS)
def test_another_backend_is_refused_in_one_line(script):
    done = run(script=script)
    needed = script[5:-3]
    assert done.returncode == 2
    assert done.stderr == (
        f"{script}: error: KERAS_BACKEND is {BACKEND}: unset it, or set it to "
        f"{needed}\n"
    )


def test_a_wrong_option_is_refused():
    for wrong in (("--loss", "nice"), ("--size", "9x9"), ("--epochs", "0")):
        done = run(*wrong)
        assert done.returncode == 2
        assert wrong[1] in done.stderr.splitlines()[-1]
