"""The comparison of backends passes what agrees and stops what does not."""

import numpy as np
import pytest

from agreement import compare, figures

ONE, OTHER = "one", "other"
LENGTHS = {"value": 2, "gradient": 50, "curve": 10}


@pytest.fixture
def write(tmp_path):
    """Writes the figures of a backend, with changes to some of them."""

    def write(backend, changes=(), origin=None):
        found = {
            (kind, "case"): np.linspace(0.5, 1.0, length)
            for kind, length in LENGTHS.items()
        }
        found.update(changes)
        origin = origin or figures.fingerprint()
        return figures.save(tmp_path, backend, found, origin)

    return write


def test_equal_figures_pass(write, tmp_path, capsys):
    write(ONE)
    write(OTHER)
    assert compare.main(tmp_path, ONE, OTHER) == 0
    printed = capsys.readouterr().out
    for kind in figures.KINDS:
        assert f"one other          {kind}" in printed


@pytest.mark.parametrize("kind", figures.KINDS)
@pytest.mark.parametrize(("share", "status"), [(0.5, 0), (2.0, 1)])
def test_the_limit_is_where_it_says(write, tmp_path, kind, share, status):
    figure = np.linspace(0.5, 1.0, LENGTHS[kind])
    moved = figure * (1 + share * compare.LIMITS[kind])
    write(ONE)
    write(OTHER, {(kind, "case"): moved})
    assert compare.main(tmp_path, ONE, OTHER) == status


@pytest.mark.parametrize("kind", figures.KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_figure_that_is_no_number_fails(write, tmp_path, kind, bad):
    broken = np.full(LENGTHS[kind], bad)
    write(ONE, {(kind, "case"): broken})
    write(OTHER, {(kind, "case"): broken})
    assert compare.main(tmp_path, ONE, OTHER) == 1


def test_a_large_figure_is_compared_relatively(write, tmp_path):
    figure = np.full(2, 1e4)
    write(ONE, {("value", "case"): figure})
    write(OTHER, {("value", "case"): figure + 0.05})
    assert compare.main(tmp_path, ONE, OTHER) == 0


def test_a_small_gradient_is_compared_to_its_own_length(write, tmp_path):
    figure = np.full(50, 1e-7)
    write(ONE, {("gradient", "case"): figure})
    write(OTHER, {("gradient", "case"): figure * 1.001})
    assert compare.main(tmp_path, ONE, OTHER) == 1


def test_a_missing_file_is_named(write, tmp_path, capsys):
    write(ONE)
    assert compare.main(tmp_path, ONE, OTHER) == 1
    assert "other: no figures in" in capsys.readouterr().err


def test_figures_of_another_version_are_named(write, tmp_path, capsys):
    write(ONE)
    write(OTHER, origin="an earlier one")
    assert compare.main(tmp_path, ONE, OTHER) == 1
    assert "other: figures written by another" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {("value", "of one alone"): np.ones(2)},
        {("value", "case"): np.ones(3)},
    ],
)
def test_figures_that_do_not_match_fail(write, tmp_path, changes):
    write(ONE)
    write(OTHER, changes)
    assert compare.main(tmp_path, ONE, OTHER) == 1


def test_nothing_to_compare_fails(tmp_path):
    for backend in (ONE, OTHER):
        figures.save(tmp_path, backend, {}, figures.fingerprint())
    assert compare.main(tmp_path, ONE, OTHER) == 1


def test_the_fingerprint_follows_the_package(tmp_path):
    (tmp_path / "ops").mkdir()
    source = tmp_path / "ops" / "regions.py"
    source.write_text("x = 1\n")
    before = figures.fingerprint(tmp_path)
    assert figures.fingerprint(tmp_path) == before
    source.write_text("x = 2\n")
    assert figures.fingerprint(tmp_path) != before
