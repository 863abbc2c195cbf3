"""Rules that follow from a profile: wide enough for new rows of the same kind, narrow enough for others."""

from __future__ import annotations

import numpy as np
import pytest

from lading.input_checks.compiled import Checks
from lading.input_checks.profile_rules import profile_rules
from lading.profile.measure import measure
from lading.signature import Signature, Tensor

OUTPUT = (Tensor(name="y", dtype="float32", shape=("batch",)),)


def signature_of(**tensors: Tensor) -> Signature:
    return Signature(inputs=tuple(tensors.values()), outputs=OUTPUT)


def column(dtype: str = "float64", *, allows_nan: bool = False, shape: tuple[int | str, ...] = ("batch",)):
    return signature_of(
        x=Tensor(name="x", dtype=dtype, shape=shape, allows_nan=allows_nan)  # type: ignore[arg-type]
    )


def rules_for(values, dtype: str = "float64", *, source="reference", **options):
    signature = column(dtype, **options)
    profile = measure(
        signature, {"x": np.array(values, object if dtype == "string" else dtype)}, source=source
    )
    return {rule.kind: rule for rule in profile_rules(profile, signature)}, signature


DRAWS = {
    "normal": lambda rng, size: rng.normal(5, 1, size),
    "uniform": lambda rng, size: rng.uniform(-1, 1, size),
    "exponential": lambda rng, size: rng.exponential(3, size),
    "lognormal": lambda rng, size: rng.lognormal(0, 1.5, size),
    "cauchy": lambda rng, size: rng.standard_cauchy(size),
    "zeros and some": lambda rng, size: np.where(rng.random(size) < 0.8, 0, rng.normal(0, 9, size)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("rows", [10, 30, 200, 2000])
def test_of_new_rows_like_the_reference_at_most_one_in_n_is_out_of_range(kind, rows):
    rng, outside, tries = np.random.default_rng(3), 0, 100
    for _ in range(tries):
        rules, signature = rules_for(DRAWS[kind](rng, rows))
        if "range" not in rules:  # Ten zeros say nothing.
            continue
        checks = Checks([rules["range"]], signature)
        outside += int(checks.counts({"x": DRAWS[kind](rng, 1000)}).sum())
    assert outside / (1000 * tries) <= 1 / rows


def test_the_range_of_a_normal_column_is_six_deviations_and_more():
    rules, _ = rules_for(np.random.default_rng(0).standard_normal(2000))
    assert -9 < rules["range"].low < -6 < 6 < rules["range"].high < 9


def test_each_side_of_a_skewed_column_has_a_margin_of_its_own():
    rules, _ = rules_for(np.random.default_rng(0).exponential(1, 1000) - 0.01)
    assert -2 < rules["range"].low < -0.5
    assert rules["range"].high > 10


def test_fewer_rows_make_a_wider_range():
    values = np.random.default_rng(0).normal(0, 1, 1000)
    few, many = rules_for(values[:20])[0]["range"], rules_for(values)[0]["range"]
    assert few.high - few.low > 0.75 * (many.high - many.low)
    assert rules_for(values[:9])[0] == {}


def test_what_was_never_negative_in_many_rows_may_not_be():
    values = np.random.default_rng(0).uniform(0.5, 9, 100)
    assert rules_for(values)[0]["range"].low == 0.0
    assert rules_for(values[:99])[0]["range"].low < 0
    assert rules_for(-values)[0]["range"].high == 0.0


def test_a_column_of_one_value_has_only_that():
    rules, _ = rules_for([3.5] * 100)
    assert rules["set"].allowed == (3.5,)
    assert "set" not in rules_for([3.5] * 99)[0]


def test_codes_that_are_all_frequent_are_a_set_and_counts_with_rare_ones_are_not():
    rng = np.random.default_rng(0)
    codes, _ = rules_for(rng.choice([1, 5, 10], 500), "int64")
    assert codes["set"].allowed == (1.0, 5.0, 10.0)
    assert "range" not in codes
    counts, _ = rules_for(rng.poisson(2, 1000).astype(float))
    assert "set" not in counts
    assert counts["integer"].expected == "a whole number"
    assert counts["range"].high > 9


def test_categories_are_known_unless_rare_ones_were_common():
    known, _ = rules_for(["red"] * 500 + ["blue"] * 600 + ["rare"], "string")
    assert known["set"].allowed == ("blue", "red")
    folded, _ = rules_for(["red"] * 500 + ["blue"] * 500 + [f"rare {at}" for at in range(20)], "string")
    assert "set" not in folded


def test_a_value_may_be_missing_if_one_was_or_if_there_were_few_rows():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(200)
    assert "missing" in rules_for(values, allows_nan=True)[0]
    assert "missing" not in rules_for(values), "the signature refuses NaN itself"
    assert "missing" not in rules_for([*values, np.nan], allows_nan=True)[0]
    assert "missing" not in rules_for(values[:50], allows_nan=True)[0]
    assert "missing" in rules_for(["a", "b"] * 100, "string")[0]
    assert "missing" not in rules_for(["a", "b", ""] * 100, "string")[0]


def test_texts_have_a_length():
    rules, _ = rules_for([f"number {at * 37} of many" * (1 + at % 3) for at in range(300)], "string")
    assert 1 <= rules["length"].low < 17
    assert 63 < rules["length"].high < 200


def test_times_may_come_after_those_of_the_reference_and_not_far_in_the_future():
    days = np.arange("2025-01-01", "2025-12-31", dtype="datetime64[D]").astype(str)
    rules, signature = rules_for(list(days), "string")
    now = 1.8e9  # 2027-01-15
    checks = Checks([rules["time"]], signature, clock=lambda: now)
    texts = ["2027-01-10", "2029-01-10", "1999-01-01", "yesterday", ""]
    failed = [failure.row for failure in checks.failures({"x": np.array(texts, object)})]
    assert failed == [1, 2, 3]


def test_many_positions_without_names_have_one_range_and_summaries_of_the_row():
    rng = np.random.default_rng(0)
    signature = column("float32", shape=("batch", 64))
    pixels = rng.uniform(0, 16, (300, 64)).astype(np.float32)
    pixels[:, 0] = 0  # A corner of the image.
    rules = list(profile_rules(measure(signature, {"x": pixels}), signature))
    assert [(rule.column, rule.summary) for rule in rules] == [
        ("x", ""),
        ("norm of x", "norm"),
        ("mean of x", "mean"),
    ]
    checks = Checks(rules, signature)
    assert not checks.counts({"x": pixels}).any()
    corner = pixels[:1].copy()
    corner[0, 0] = 12
    assert checks.passes({"x": corner})
    assert checks.counts({"x": corner * 255}).tolist() == [1, 1, 1]
    assert checks.counts({"x": -corner}).tolist() == [1, 0, 1]


def test_booleans_and_profiles_of_other_inputs_have_no_rule():
    assert rules_for([True, False] * 100, "bool")[0] == {}
    profile = measure(column(), {"x": np.arange(100.0)})
    other = signature_of(z=Tensor(name="z", dtype="float64", shape=("batch",)))
    assert list(profile_rules(profile, other)) == []
