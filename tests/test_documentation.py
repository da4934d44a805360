"""The pages say what is so: their examples print what they show."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import keras_rmi

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A name of the package, but no path such as keras_rmi/ops and no file.
NAME = re.compile(r"\bkeras_rmi((?:\.[A-Za-z]\w*)+)(?![\w./])")
LINK = re.compile(r"\]\(([^)\s:#]+)(?:#[^)]*)?\)")


def blocks(text, language):
    return [code for name, code in BLOCK.findall(text) if name == language]


def run_examples(text, name):
    """Runs the examples of a page as one session; the number of failures."""
    code = "\n".join(blocks(text, "pycon"))
    test = doctest.DocTestParser().get_doctest(code, {}, name, name, 0)
    runner = doctest.DocTestRunner(
        verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    return runner.run(test).failed


def unknown_names(text):
    """Names of the package in a text that do not exist."""
    return [name for name in NAME.findall(text) if not _exists(name[1:])]


def _exists(dotted):
    thing, module = keras_rmi, "keras_rmi"
    for part in dotted.split("."):
        module = f"{module}.{part}"
        if not hasattr(thing, part):
            try:
                importlib.import_module(module)
            except ImportError:
                return False
        thing = getattr(thing, part)
    return True


def broken_links(text, folder):
    """Links to files that are not there."""
    return [link for link in LINK.findall(text) if not (folder / link).exists()]


WITH_EXAMPLES = [page for page, text in PAGES.items() if blocks(text, "pycon")]


def test_some_pages_have_examples():
    assert "docs/start.md" in WITH_EXAMPLES


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_the_examples_print_what_the_page_shows(page):
    assert run_examples(PAGES[page], page) == 0


@pytest.mark.parametrize("page", PAGES)
def test_code_is_python_and_names_and_links_exist(page):
    text = PAGES[page]
    for number, code in enumerate(blocks(text, "python")):
        compile(code, f"{page}, block {number}", "exec")
    assert unknown_names(text) == []
    assert broken_links(text, (ROOT / page).parent) == []


def test_a_wrong_page_is_seen(capsys):
    page = "```pycon\n>>> 1 + 1\n3\n\n```\n"
    assert run_examples(page, "page") == 1
    assert "Expected:" in capsys.readouterr().out
    assert run_examples(page.replace("3", "2"), "page") == 0
    assert unknown_names("`keras_rmi.NoLoss(1)`, keras_rmi.ops.") == [".NoLoss"]
    assert unknown_names("keras_rmi.ops.statistics, keras_rmi/x.py") == []
    assert broken_links("[a](b.md#c) [d](https://e.f)", ROOT) == ["b.md"]
