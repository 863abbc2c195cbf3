"""The options of `lading release` that make up its plan."""

from __future__ import annotations

import click
import pytest

from lading.cli.ui.plan_options import DurationType, RuleType, StepsType, plan_of
from lading.release import HeaderRule, Plan


@pytest.mark.parametrize(
    ("options", "mode", "steps"),
    [
        (["--canary"], "canary", (5, 25, 50, 100)),
        (["--shadow"], "shadow", (0,)),
        (["--ab"], "ab", (50,)),
        (["--ab", "20"], "ab", (20,)),
    ],
)
def test_each_mode_has_its_steps(lading, proved, options, mode, steps):
    lading("release", "iris:1")
    assert lading("release", "iris:2", *options)[0] == 0
    plan = proved.releases.current("iris").plan
    assert (plan.mode, plan.steps) == (mode, steps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--canary", "50,5"], "rising percentages"),
        (["--canary", "0,101"], "rising percentages"),
        (["--canary", "--shadow"], "expected one way to release, found `--canary` and `--shadow`"),
        (["--hold", "60s"], "`--hold` needs `--canary`, `--shadow` or `--ab`"),
        (["--rule", "a=b:candidate"], "`--rule` needs"),
        (["--no-traffic-timeout", "1h"], "`--no-traffic-timeout` needs"),
        (["--canary", "5", "--hold", "soon"], "expected a time such as `60s`"),
        (["--canary", "5", "--rule", "a=b"], "expected `HEADER=VALUE:candidate`"),
        (["--ab", "100"], "--ab"),
    ],
)
def test_an_impossible_plan_is_a_usage_error(lading, proved, options, sentence):
    lading("release", "iris:1")
    code, stdout, stderr = lading("release", "iris:2", *options)
    assert (code, stdout) == (2, "")
    assert sentence in stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("500ms", 0.5), ("60s", 60), ("1.5m", 90), ("2h", 7200), ("1d", 86400)]
)
def test_a_duration_has_a_unit_or_is_in_seconds(text, seconds):
    assert DurationType().convert(text, None, None) == pytest.approx(seconds)


def test_steps_may_be_written_with_percent_signs():
    assert StepsType().convert("5%, 25 ,100%", None, None) == (5, 25, 100)
    with pytest.raises(click.BadParameter, match="rising percentages"):
        StepsType().convert("5,5", None, None)


def test_a_rule_keeps_the_case_of_its_value_but_not_of_its_header():
    assert RuleType().convert("X-Team=QA:candidate", None, None) == ("x-team", "QA", "candidate")


def test_options_that_are_not_set_leave_the_defaults_of_the_plan():
    options = {"canary": (5, 100), "ab": None, "shadow": False, "hold": None, "min_requests": None}
    options |= {"no_traffic_timeout": None, "rules": (("x-team", "qa", "candidate"),)}
    expected = Plan(mode="canary", steps=(5, 100), rules=(HeaderRule("x-team", "qa", "candidate"),))
    assert plan_of(options, {}) == expected
