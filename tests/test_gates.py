"""Gates: the files that are accepted, and the numbers that pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from lading.errors import InvalidSetting
from lading.gates import Gates, judge

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "gates.md"

ALL = """
max_latency_p99_ms = 5
max_size_mb = 50.5
max_memory_mb = 200
min_metric.accuracy = 0.9
[max_metric]
rmse = 0.5
[no_worse_than_live]
accuracy = 0.01
"""


def outcomes(text: str, numbers=None, metrics=None, live=None) -> dict[str, str]:
    checks = judge(Gates.parse(text), numbers or {}, metrics or {}, live)
    return {check.name: check.outcome for check in checks}


def test_every_gate_is_read_from_toml(tmp_path):
    file = tmp_path / "gates.toml"
    file.write_text(ALL)
    assert Gates.read(file) == Gates(
        max_latency_p99_ms=5,
        max_size_mb=50.5,
        max_memory_mb=200,
        min_metric={"accuracy": 0.9},
        max_metric={"rmse": 0.5},
        no_worse_than_live={"accuracy": 0.01},
    )


def test_a_dotted_key_is_the_same_as_a_table():
    assert Gates.parse("min_metric.accuracy = 0.9") == Gates.parse("[min_metric]\naccuracy = 0.9")


def test_an_empty_file_limits_nothing():
    assert judge(Gates.parse(""), {}, {}, None) == ()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("max_latencey_p99_ms = 5", "found `max_latencey_p99_ms`", "did you mean `max_latency_p99_ms`?"),
        ("[min_metrics]\naccuracy = 1", "found `min_metrics`", "did you mean `min_metric`?"),
        ('"min_metric.accuracy" = 1', "found `min_metric.accuracy`", "did you mean `min_metric`?"),
        ("zzz = 5", "found `zzz`", None),
        ('max_size_mb = "5"', "`max_size_mb` in `gates`: expected a number of at least 0, found `5`", None),
        ("max_size_mb = -1", "`max_size_mb` in `gates`: expected a number of at least 0, found `-1`", None),
        ("max_size_mb = nan", "found `nan`", None),
        ("max_size_mb = inf", "found `inf`", None),
        ("max_size_mb = true", "found `true`", None),
        ("max_size_mb.x = 1", "found a table", None),
        ("min_metric = 0.9", "`min_metric` in `gates`: expected metrics with their limits", None),
        ("[min_metric]", "found an empty table", None),
        ('min_metric.accuracy = "high"', "`min_metric.accuracy` in `gates`: expected a number", None),
        ("no_worse_than_live.accuracy = -0.1", "expected a number of at least 0, found `-0.1`", None),
        ("max_size_mb = ", "`gates`: expected TOML", None),
        ("max_size_mb = 1\nmax_size_mb = 2", "`gates`: expected TOML", None),
    ],
)
def test_an_invalid_gate_is_refused_with_its_name(text, message, hint):
    with pytest.raises(InvalidSetting) as caught:
        Gates.parse(text)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint is None or hint in str(caught.value.hint)


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="found no such file or directory"):
        Gates.read(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSetting, match="found bytes not in UTF-8"):
        Gates.read(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    ("gate", "number"),
    [
        ("max_latency_p99_ms", "latency_p99_ms"),
        ("max_size_mb", "size_mb"),
        ("max_memory_mb", "memory_mb"),
    ],
)
def test_a_number_may_reach_its_limit_but_not_exceed_it(gate, number):
    for value, outcome in ((4.9, "passed"), (5.0, "passed"), (5.1, "failed"), (float("nan"), "failed")):
        assert outcomes(f"{gate} = 5", {number: value}) == {gate: outcome}


def test_a_number_that_was_not_measured_fails_its_gate():
    (check,) = judge(Gates.parse("max_memory_mb = 5"), {}, {}, None)
    assert (check.outcome, check.found) == ("failed", "`memory_mb` was not measured")


def test_a_metric_must_reach_its_least_value():
    for value, outcome in ((0.91, "passed"), (0.9, "passed"), (0.89, "failed"), (float("nan"), "failed")):
        assert outcomes("min_metric.accuracy = 0.9", metrics={"accuracy": value}) == {
            "min_metric.accuracy": outcome
        }


def test_a_metric_must_stay_below_its_largest_value():
    assert outcomes("max_metric.rmse = 0.5", metrics={"rmse": 0.5}) == {"max_metric.rmse": "passed"}
    assert outcomes("max_metric.rmse = 0.5", metrics={"rmse": 0.51}) == {"max_metric.rmse": "failed"}


def test_a_metric_that_the_bundle_does_not_state_fails_with_a_hint():
    (check,) = judge(Gates.parse("min_metric.f1 = 0.9"), {}, {"accuracy": 1.0}, None)
    assert check.outcome == "failed"
    assert check.found == "no metric `f1` in the bundle, which states `accuracy`"
    assert "--metric" in check.hint


def test_a_metric_may_be_below_that_of_live_by_the_allowed_drop():
    text, gate = "no_worse_than_live.accuracy = 0.02", "no_worse_than_live.accuracy"
    # 0.93 - 0.02 is 0.9100000000000001 in binary.
    for value, outcome in ((0.95, "passed"), (0.91, "passed"), (0.909, "failed")):
        assert outcomes(text, metrics={"accuracy": value}, live={"accuracy": 0.93}) == {gate: outcome}
    assert outcomes(text, metrics={}, live={"accuracy": 0.93}) == {gate: "failed"}


def test_without_a_live_version_a_comparison_with_it_is_only_noted():
    text = "no_worse_than_live.accuracy = 0.02"
    assert outcomes(text, metrics={"accuracy": 0.5}) == {"no_worse_than_live.accuracy": "noted"}
    assert outcomes(text, metrics={"accuracy": 0.5}, live={}) == {"no_worse_than_live.accuracy": "noted"}


def test_the_page_describes_every_gate():
    text = PAGE.read_text()
    assert [name for name in Gates.__struct_fields__ if f"`{name}" not in text] == []
