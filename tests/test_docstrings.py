"""Public docstrings are complete, and their examples print what they say.

One expected text for all backends: a run on each shows that they print alike.
"""

import doctest
import inspect
import re

import pytest

import keras_rmi

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (
        keras_rmi.losses,
        keras_rmi.layers,
        keras_rmi.metrics,
        keras_rmi.ops,
        keras_rmi.callbacks,
    )
    for name in module.__all__
}
SECTION = re.compile(r"^(\w[\w ]*):$", re.MULTILINE)


def problems(thing):
    """What the docstring of a public class or function lacks."""
    if not thing.__doc__:
        return ["docstring"]
    text = inspect.cleandoc(thing.__doc__)
    found = []
    first, _, rest = text.partition("\n")
    if not first.endswith(".") or (rest and not rest.startswith("\n")):
        found.append("a first line that is one sentence")
    sections = dict(_sections(text))
    if "Args" not in sections:
        return [*found, "Args"]
    described = _described(sections["Args"])
    actual = _parameters(thing)
    found.extend(f"Args: {n}" for n in actual if n not in described)
    found.extend(
        f"Args: {n} does not exist" for n in described if n not in actual
    )
    examples = doctest.DocTestParser().get_examples(text)
    if not any(example.want for example in examples):
        found.append("an example that prints")
    return found


def _sections(text):
    """(name, text) of "Name:" at the left margin and what is indented."""
    parts = SECTION.split(text)
    return zip(parts[1::2], parts[2::2], strict=True)


def _described(arguments):
    """Names before the colons; one entry may describe several."""
    entries = re.findall(r"^    (\w[^:]*):", arguments, re.MULTILINE)
    return [name for entry in entries for name in re.findall(r"\w+", entry)]


def _parameters(thing):
    return [
        name
        for name, parameter in inspect.signature(thing).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def run_examples(thing, name):
    """Runs the examples of one docstring; the number of failures."""
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(
        verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    attempted = 0
    for test in finder.find(thing, name, globs={}):
        attempted += runner.run(test).attempted
    assert attempted, f"{name} has no example"
    return runner.failures


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_is_complete(name):
    assert problems(PUBLIC[name]) == []


@pytest.mark.parametrize("name", PUBLIC)
def test_example_prints_what_it_says(name):
    assert run_examples(PUBLIC[name], name) == 0


def test_top_level_names_are_those_of_the_losses():
    functions = [
        n for n in keras_rmi.__all__ if callable(getattr(keras_rmi, n))
    ]
    assert sorted(functions) == sorted(keras_rmi.losses.__all__)


def good(radius, name=None, dtype=None):
    """States what is computed.

    Args:
        radius: side of the region,
            not: its area.
        name,
            dtype: as in the base class.

    Example:
        >>> 1 + 1
        2
    """


def undescribed(radius):
    """States what is computed.

    Args:
        side: side of the region.

    Example:
        >>> 1 + 1
        2
    """


def no_arguments(radius):
    """States what is computed.

    Example:
        >>> 1 + 1
        2
    """


def no_example(radius):
    """States what is computed.

    Args:
        radius: side of the region.
    """


def no_sentence(radius):
    """states what
    is computed.

    Args:
        radius: side of the region.

    Example:
        >>> 1 + 1
        3
    """


def no_docstring(radius):
    pass


def test_a_complete_docstring_passes():
    assert problems(good) == []
    assert run_examples(good, "good") == 0


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (undescribed, ["Args: radius", "Args: side does not exist"]),
        (no_arguments, ["Args"]),
        (no_example, ["an example that prints"]),
        (no_sentence, ["a first line that is one sentence"]),
        (no_docstring, ["docstring"]),
    ],
)
def test_an_incomplete_docstring_is_seen(function, expected):
    assert problems(function) == expected


def test_an_example_that_prints_something_else_is_seen(capsys):
    assert run_examples(no_sentence, "no_sentence") == 1
    assert "Expected:" in capsys.readouterr().out
