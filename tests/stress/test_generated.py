"""A slice of the stress run: hypothesis draws the cases.

Where code is compiled, a row has one program and many contents; otherwise
every example has a program of its own.
"""

import functools
import random as standard

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies

import keras_rmi
from cases import CASES
from stress import checks, generated, illegal, maps
from stress.campaign import ROWS, Campaign, draw
from stress.problems import draw_problem
from support import DEFAULT_MODE, MODES

COMPILES = len(MODES) > 1
MODE = "compiled" if COMPILES else DEFAULT_MODE
given_random = hypothesis.given(
    random=strategies.randoms(use_true_random=False)
)
settings = functools.partial(
    hypothesis.settings,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        # The seed of Keras is set before each test, not before each example.
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
        hypothesis.HealthCheck.large_base_example,
    ],
)


@functools.cache
def fixed(row):
    """One problem of a row, compiled once."""
    return draw(standard.Random(str(row)), row)


@functools.cache
def one_of(case):
    """One problem of a case: of each shape even an array is a program."""
    return draw_problem(standard.Random(str(case)), case)


@pytest.mark.parametrize("row", ROWS, ids=str)
@settings(max_examples=20 if COMPILES else 40)
@given_random
def test_a_legal_case_has_a_finite_value_and_gradient(row, random):
    problem, examine = fixed(row) if COMPILES else draw(random, row)
    found = examine(problem, problem.draw(random), MODE)
    assert not found.faults, str(found)


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=15)
@given_random
def test_an_illegal_case_gives_its_one_error_before_any_work(case, random):
    problem = one_of(case) if COMPILES else draw_problem(random, case)
    fault = illegal.draw_fault(random, problem, problem.draw(random))
    assert illegal.examine(fault) is None, fault.name


def test_everything_public_is_drawn():
    drawn = {case.loss for case in CASES}
    losses = {getattr(keras_rmi, name) for name in keras_rmi.losses.__all__}
    losses = {loss for loss in losses if isinstance(loss, type)}
    # The composite is made by a function of the table.
    assert losses - drawn == {keras_rmi.CompositeLoss}
    others = {
        *keras_rmi.layers.__all__,
        *keras_rmi.metrics.__all__,
        *keras_rmi.ops.__all__,
    }
    assert others == {*maps.TABLE, *maps.ELSEWHERE}


def test_a_run_counts_and_reports_what_it_drew(capsys):
    campaign = Campaign(seed=1)
    campaign.legal(1, 3, MODE)
    campaign.illegal(2)
    lines = campaign.report()
    assert lines[0] == f"3 legal cases, {MODE}, in 1 programs"
    assert "2 illegal cases" in lines
    assert lines[-1] == "0 failures"


class Broken(keras.losses.Loss):
    """Everything that a loss must not do, by the sign of its input."""

    def __init__(self, value, **options):
        super().__init__()
        self.value = value

    def __call__(self, y_true, y_pred, sample_weight=None):
        return keras.ops.sum(y_pred, axis=(1, 2, 3)) * 0 + self.value


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_broken_loss_is_seen(value, monkeypatch):
    rng = standard.Random(0)
    problem = draw_problem(rng, CASES[0])
    content = problem.draw(rng)
    monkeypatch.setattr(
        type(problem), "loss", lambda self, **changes: Broken(value)
    )
    with np.errstate(invalid="ignore"):
        found = checks.examine(problem, content, DEFAULT_MODE)
    assert found.faults


def test_an_error_of_another_text_is_seen():
    def call():
        raise ValueError("something else")

    fault = illegal.Fault("none", call, ValueError, "the text")
    assert "something else" in illegal.examine(fault)
    silent = illegal.Fault("none", lambda: None, ValueError, "the text")
    assert illegal.examine(silent) == "no error, not the text"


def test_the_whole_run_has_ten_thousand_legal_cases():
    for plan in generated.PLANS.values():
        assert sum(a * b for a, b in plan.values()) >= 10_000
