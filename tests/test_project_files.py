"""The files round the package agree with it and with each other."""

import configparser
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import keras_rmi

ROOT = Path(__file__).resolve().parents[1]
HOOKS = ".pre-commit-config.yaml"
WORKFLOW = ".github/workflows/tests.yml"


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def first_block(heading, language):
    """The fenced block that follows a heading of the README."""
    section = text("README.md").partition(f"\n{heading}\n")[2]
    assert section, f"README.md has no {heading!r}"
    found = re.match(rf"\n```{language}\n(.*?)```\n", section, re.DOTALL)
    assert found, f"no {language} block right below {heading!r}"
    return found[1]


def tox():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text("tox.ini"))
    return parser


def default_environments():
    return tox()["tox"]["env_list"].split()


def environments():
    """Sections by the name of the environment, without Python versions."""
    return {
        re.sub(r"{py[^}]*}", "", section.removeprefix("testenv:")): section
        for section in tox().sections()
    }


def environment(name):
    return tox()[environments()[name]]


@pytest.mark.parametrize("heading", ["## Try it", "## Test it"])
def test_a_command_of_the_readme_is_one_line(heading):
    (line,) = first_block(heading, "sh").splitlines()
    assert shlex.split(line)


def test_the_readme_runs_the_example_and_all_environments():
    assert "examples/train_segmenter.py" in first_block("## Try it", "sh")
    assert first_block("## Test it", "sh").endswith("tox run\n")


def test_the_usage_of_the_readme_runs(capsys):
    usage = first_block("## Use it", "python")
    assert len(usage.strip().splitlines()) <= 10
    exec(compile(usage, "README.md", "exec"), {})
    assert "loss" in capsys.readouterr().out


def test_the_readme_lists_every_public_name():
    readme = text("README.md")
    for module in (
        keras_rmi.losses,
        keras_rmi.layers,
        keras_rmi.metrics,
        keras_rmi.ops,
    ):
        for name in module.__all__:
            assert name in readme


def test_the_versions_agree():
    version = keras_rmi.__version__
    assert f"\nversion: {version}\n" in text("CITATION.cff")
    assert f"\n## [{version}]" in text("CHANGELOG.md")


def test_the_hooks_and_the_lint_environment_use_one_ruff():
    pinned = re.search(r"^ruff==(.+)$", text("constraints.txt"), re.MULTILINE)
    hook = re.search(r"ruff-pre-commit\n +rev: v(.+)", text(HOOKS))
    assert pinned[1] == hook[1]


def test_the_workflow_has_every_environment():
    workflow = text(WORKFLOW)
    assert {"lint", "oldest", "package", "docs"} <= {*default_environments()}
    for environment in default_environments():
        assert re.search(rf"\b{environment}\b", workflow), environment


def test_the_oldest_environment_has_the_lower_bounds_and_no_other():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    oldest = environment("oldest")["deps"]
    for dependency in project["dependencies"]:
        name, _, version = dependency.partition(">=")
        assert re.fullmatch(r"[\d.]+", version), (
            f"{dependency}: one lower bound"
        )
        assert re.search(rf"^{name}=={re.escape(version)}\.0$", oldest, re.M)
    pinned = re.findall(r"^.+==.+$", oldest, re.MULTILINE)
    (framework,) = [p for p in pinned if not p.startswith(("keras=", "numpy="))]
    assert f"\n{framework}\n" in text("constraints.txt")


def test_the_dependencies_are_two_and_nothing_has_an_upper_bound():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    names = [d.partition(">=")[0] for d in project["dependencies"]]
    assert names == ["keras", "numpy"]
    listed = [*project["dependencies"], project["requires-python"]]
    for extra in project["optional-dependencies"].values():
        listed += extra
    assert not [requirement for requirement in listed if "<" in requirement]


def test_the_scheduled_workflow_pins_nothing():
    workflow = text(".github/workflows/newest.yml")
    assert "schedule:" in workflow
    assert "tox run -e newest-${{ matrix.backend }}" in workflow
    (name,) = [n for n in environments() if n.startswith("newest-")]
    newest = environment(name)
    assert newest["constrain_package_deps"] == "false"
    assert "=" not in newest["deps"]
    assert "constraints" not in newest["deps"]
