"""Rules over arrays: the counts of many rows, the failures of single ones, for every kind and shape."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from lading.input_checks import Rule
from lading.input_checks.compiled import Checks
from lading.signature import Signature, Tensor

NUMBERS = ("float16", "float32", "float64", "int8", "int32", "int64", "uint8")
OUTPUT = (Tensor(name="y", dtype="float32", shape=("batch",)),)


def checks_of(*rules: Rule, dtype: str = "float32", shape=("batch", 3), columns=("a", "b", "c")) -> Checks:
    tensor = Tensor(name="x", dtype=dtype, shape=shape, columns=columns, allows_nan=True)  # type: ignore[arg-type]
    return Checks(rules, Signature(inputs=(tensor,), outputs=OUTPUT))


def rule(kind: str, position: int = 0, **limits) -> Rule:
    return Rule(tensor="x", column="abc"[position], kind=kind, position=position, **limits)  # type: ignore[arg-type]


def fails(rule: Rule, value: float) -> bool:
    """Return whether a number fails a rule, by its definition."""
    if rule.kind == "missing":
        return bool(np.isnan(value))
    if np.isnan(value):
        return False
    if rule.kind == "range":
        return not rule.low <= value <= rule.high
    return value != round(value) if rule.kind == "integer" else value not in rule.allowed


def test_every_kind_of_rule_fails_exactly_the_numbers_that_it_is_about():
    rng = np.random.default_rng(0)
    rules = [
        rule("range", 0, low=-1.0, high=2.0),
        rule("range", 1, high=0.5),
        rule("missing", 0),
        rule("missing", 2),
        rule("integer", 1),
        rule("set", 2, allowed=(-2.0, 0.0, 1.5)),
    ]
    pool = np.array([-2, -1, 0, 0.25, 0.5, 1, 1.5, 2, 3, 1e30, -1e30, np.inf, -np.inf, np.nan], np.float32)
    for picked in itertools.permutations(rules, 3):
        checks = checks_of(*picked)
        for rows in (1, 1, 1, 2, 50):
            array = rng.choice(pool, (rows, 3))
            expected = [
                sum(not np.isinf(v) and fails(r, float(v)) for v in array[:, r.position])
                if r.kind == "integer"
                else sum(fails(r, float(v)) for v in array[:, r.position])
                for r in picked
            ]
            assert checks.counts({"x": array}).tolist() == expected
            assert checks.passes({"x": array}) == (not any(expected))
            failures = list(checks.failures({"x": array}))
            assert len(failures) == sum(expected)
            if failures:
                first, failing = checks.first({"x": array})
                assert first.row == min(failure.row for failure in failures)
                assert failing == len({failure.row for failure in failures})


@pytest.mark.parametrize("dtype", NUMBERS)
def test_bounds_are_exact_in_every_dtype(dtype):
    limits = rule("range", 1, low=0.1, high=100.3)
    inside = np.array([1, 5, 100], dtype)
    checks = checks_of(limits, dtype=dtype)
    for value in inside:
        assert checks.passes({"x": np.full((1, 3), value)})
    if dtype == "float32":
        assert checks.passes({"x": np.full((1, 3), 0.1, dtype)})
        nearest = np.float32(0.1)
        assert not checks.passes({"x": np.full((1, 3), np.nextafter(nearest, np.float32(0)))})
    assert checks.counts({"x": np.full((2, 3), 101, dtype)}).tolist() == [2]
    assert checks.counts({"x": np.full((2, 3), 0, dtype)}).tolist() == [2]


def test_a_bound_that_the_dtype_does_not_hold_lets_the_nearest_value_pass():
    # The profile measured this very float32; in float64 the bound is the same number.
    value = float(np.float32(0.1))
    assert checks_of(rule("range", low=value, high=value)).passes({"x": np.full((1, 3), 0.1, np.float32)})


@pytest.mark.parametrize("shape", [("batch",), ("batch", 1)])
@pytest.mark.parametrize("rows", [1, 4])
def test_an_input_of_single_values_is_checked_as_one_column(shape, rows):
    place = -1 if len(shape) == 1 else 0
    rules = [
        Rule(tensor="x", column="x", kind="range", position=place, low=0.0, high=9.0),
        Rule(tensor="x", column="x", kind="integer", position=place),
        Rule(tensor="x", column="x", kind="missing", position=place),
    ]
    checks = checks_of(*rules, shape=shape, columns=())
    array = np.full((rows, *shape[1:]), 4, np.float32)
    assert checks.passes({"x": array})
    for value, kind in ((10, "range"), (4.5, "integer"), (np.nan, "missing")):
        array[-1] = value
        (failure,) = checks.failures({"x": array})
        assert (failure.rule.kind, failure.row) == (kind, rows - 1)
        assert np.isnan(value) or failure.value == value
        assert not checks.passes({"x": array})


def test_texts_are_checked_by_set_length_pattern_and_presence():
    rules = [
        rule("set", 0, allowed=("red", "blue")),
        rule("missing", 0),
        rule("length", 1, low=2.0, high=4.0),
        rule("pattern", 2, pattern=r"\d+"),
    ]
    checks = checks_of(*rules, dtype="string")
    good = ["red", "abcd", "12"]
    table = np.array([good, ["Red", "abcde", "1a"], ["", "a", ""], good], object)
    assert checks.counts({"x": table}).tolist() == [1, 1, 2, 1]
    assert checks.passes({"x": table[:1]})
    assert checks.passes({"x": table[[0, 3]]})
    by_row = {(f.row, f.rule.kind): f.value for f in checks.failures({"x": table})}
    assert by_row == {
        (1, "set"): "Red",
        (1, "length"): "abcde",
        (1, "pattern"): "1a",
        (2, "missing"): "",
        (2, "length"): "a",
    }


def test_a_column_is_compared_with_another():
    smaller = rule("at_most", 0, at_most=("x", "b", 1))
    checks = checks_of(smaller)
    nan = np.nan
    array = np.array([[1, 2, 0], [2, 2, 0], [3, 2, 0], [nan, 2, 0], [3, nan, 0]], np.float32)
    assert checks.counts({"x": array}).tolist() == [1]
    (failure,) = checks.failures({"x": array})
    assert (failure.row, failure.value, failure.rule.expected) == (2, 3.0, "at most the value of `b`")


def test_times_are_compared_as_times_and_inputs_with_each_other():
    tensors = [Tensor(name=name, dtype="string", shape=("batch",)) for name in ("start", "end")]
    before = Rule(tensor="start", column="start", kind="at_most", at_most=("end", "end", -1))
    checks = Checks([before], Signature(inputs=tuple(tensors), outputs=OUTPUT))
    start = np.array(["2026-01-02", "2026-01-02T10:00:00+02:00", "2026-01-03", "soon"], object)
    end = np.array(["2026-01-02", "2026-01-02T09:00:00+00:00", "2026-01-02", "2026-01-01"], object)
    assert checks.counts({"start": start, "end": end}).tolist() == [1]


def test_a_whole_row_is_checked_by_one_rule_and_counts_once():
    everywhere = Rule(tensor="x", column="x", kind="range", low=0.0, high=1.0)
    checks = checks_of(everywhere, shape=("batch", 2, 2), columns=())
    array = np.zeros((3, 2, 2), np.float32)
    assert checks.passes({"x": array})
    array[1, 1] = 7
    (failure,) = checks.failures({"x": array})
    assert (failure.row, failure.value) == (1, 7.0)
    assert checks.counts({"x": array}).tolist() == [1]


def test_a_model_without_a_batch_dimension_has_one_row():
    tensor = Tensor(name="x", dtype="float32", shape=(3,), columns=("a", "b", "c"))
    checks = Checks([rule("range", 2, high=1.0)], Signature(inputs=(tensor,), outputs=OUTPUT))
    assert checks.passes({"x": np.ones(3, np.float32)})
    assert checks.counts({"x": np.full(3, 2, np.float32)}).tolist() == [1]


def test_lists_of_any_length_are_checked_up_to_the_positions_that_have_rules():
    checks = checks_of(rule("range", 1, high=1.0), shape=("batch", "n"), columns=())
    assert checks.passes({"x": np.array([[9, 1, 9, 9]], np.float32)})
    assert not checks.passes({"x": np.array([[9, 2, 9, 9]], np.float32)})


def seconds_each(call, times: int) -> float:
    fastest = float("inf")
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(times):
            call()
        fastest = min(fastest, (time.perf_counter() - began) / times)
    return fastest


@pytest.mark.alone
def test_a_row_of_ten_numbers_takes_less_than_a_microsecond_in_a_chunk_and_ten_by_itself():
    names = tuple("abcdefghij")
    tensor = Tensor(name="x", dtype="float32", shape=("batch", 10), columns=names, allows_nan=True)
    rules = [
        Rule(tensor="x", column=name, kind=kind, position=at, low=-9.0, high=9.0)
        for at, name in enumerate(names)
        for kind in ("range", "missing")
    ]
    checks = Checks(rules, Signature(inputs=(tensor,), outputs=OUTPUT))
    rows = np.random.default_rng(0).standard_normal((256, 10)).astype(np.float32)
    assert seconds_each(lambda: checks.counts({"x": rows}), 200) / 256 < 1e-6
    assert seconds_each(lambda: checks.counts({"x": rows * 9}), 200) / 256 < 2e-6
    assert seconds_each(lambda: checks.passes({"x": rows[:1]}), 2000) < 10e-6
