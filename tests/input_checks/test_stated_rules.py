"""Checks that people state: read from TOML, checked against the signature, joined with a profile's."""

from __future__ import annotations

import numpy as np
import pytest

from lading.bundle.formats.v2 import Check
from lading.errors import InvalidSetting
from lading.input_checks.stated_rules import ServerChecks, read_checks, rules_of
from lading.profile.measure import measure
from lading.signature import Signature, Tensor

OUTPUT = (Tensor(name="y", dtype="float32", shape=("batch",)),)
MATRIX = Signature(
    inputs=(Tensor(name="x", dtype="float32", shape=("batch", 2), columns=("age", "income")),), outputs=OUTPUT
)
FRAME = Signature(
    inputs=(
        Tensor(name="age", dtype="float32", shape=("batch", 1)),
        Tensor(name="limit", dtype="float32", shape=("batch", 1)),
        Tensor(name="city", dtype="string", shape=("batch", 1)),
    ),
    outputs=OUTPUT,
)


def profile():
    rows = np.random.default_rng(0).uniform([20, 0], [60, 9000], (500, 2)).astype(np.float32)
    return measure(MATRIX, {"x": rows})


def written(folder, text: str):
    path = folder / "checks.toml"
    path.write_text(text)
    return path


def test_a_file_states_checks_by_column(tmp_path):
    text = """
    [age]
    minimum = 18
    maximum = 99.5
    at_most = "limit"
    missing = false

    [city]
    allowed = ["Oslo", "Seoul"]
    pattern = "[A-Z].*"
    ignore = ["set"]
    """
    assert read_checks(written(tmp_path, text))(FRAME) == (
        Check(input="age", minimum=18.0, maximum=99.5, at_most="limit", missing=False),
        Check(input="city", allowed=("Oslo", "Seoul"), pattern="[A-Z].*", ignore=("set",)),
    )
    assert read_checks({"income": {"minimum": 0}})(MATRIX) == (
        Check(input="x", column="income", minimum=0.0),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age = 3", "expected a table for each column"),
        ("[age]\nminimum = 'a'", "Expected `float | null`, got `str`"),
        ("[age]\nleast = 3", "`least`"),
        ("[size]\nminimum = 3", "expected columns of the model: `age`, `limit`, `city`, found `size`"),
        ("[age]\nminimum = 3\nmaximum = 2", "`age` minimum: expected at most 2"),
        ("[age]\nminimum = nan", "expected finite numbers"),
        ("[age]\nallowed = ['a']", "`age` allowed: expected numbers"),
        ("[city]\nallowed = [3]", "`city` allowed: expected texts"),
        ("[city]\nminimum = 3", "expected no bounds for texts"),
        ("[age]\npattern = 'a'", "expected no pattern for the numbers"),
        ("[city]\npattern = '(a'", "`city` pattern: expected a regular expression"),
        ("[city]\npattern = '(a)\\1'", "`city` pattern: expected a regular expression, found .*escape"),
        ("[age]\nat_most = 'city'", "`age` at_most: expected a column of `age`, or an input of single"),
        ("[age]\nignore = ['all']", "Invalid enum value 'all'"),
        ("[age", "expected TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(InvalidSetting, match=message) as refused:
        read_checks(written(tmp_path, text))(FRAME)
    assert str(tmp_path / "checks.toml") in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="expected a file of checks"):
        read_checks(tmp_path / "none.toml")


def test_stated_checks_replace_those_of_the_profile_by_column_and_kind():
    known = {(rule.column, rule.kind): rule for rule in rules_of(MATRIX, profile(), ())}
    assert not any(rule.is_stated for rule in known.values())
    bundle = Check(input="x", column="age", maximum=70.0)
    server = Check(input="x", column="age", minimum=18.0)
    rules = {(rule.column, rule.kind): rule for rule in rules_of(MATRIX, profile(), (bundle,), (server,))}
    age = rules["age", "range"]
    assert (age.low, age.high, age.is_stated) == (18.0, 70.0, True)
    assert rules["income", "range"] == known["income", "range"]
    one_sided = {rule.column: rule for rule in rules_of(MATRIX, profile(), (server,))}["age"]
    assert (one_sided.low, one_sided.high) == (18.0, known["age", "range"].high)


def test_a_rule_of_the_profile_can_be_ignored_for_a_column_and_for_an_input():
    for_column = Check(input="x", column="age", ignore=("range",))
    assert [rule.column for rule in rules_of(MATRIX, profile(), (for_column,))] == ["income"]
    assert rules_of(MATRIX, profile(), (Check(input="x", ignore=("range",)),)) == ()


def test_a_bundle_without_a_profile_has_its_stated_rules_alone():
    (rule,) = rules_of(MATRIX, None, (Check(input="x", minimum=0.0),))
    assert (rule.column, rule.position, rule.low) == ("x", -1, 0.0)
    assert str(rule) == "x range: at least 0 (stated)"


def test_a_servers_file_is_by_model_and_what_does_not_fit_a_version_is_named(tmp_path):
    text = "[people.age]\nminimum = 0\n[people.size]\nminimum = 0\n[other.z]\nmaximum = 1\n"
    stated = ServerChecks(written(tmp_path, text))
    checks, (misfit,) = stated.of("people", FRAME)
    assert checks == (Check(input="age", minimum=0.0),)
    assert "found `size`" in misfit.message
    assert stated.of("unknown", FRAME) == ((), ())
    assert ServerChecks().of("people", FRAME) == ((), ())


@pytest.mark.parametrize("text", ["[people]\nage = 3", "[people.age]\nleast = 3"])
def test_a_servers_file_is_refused_at_its_start(tmp_path, text):
    with pytest.raises(InvalidSetting, match="age"):
        ServerChecks(written(tmp_path, text))


def test_rules_read_as_lines():
    city = Check(input="city", allowed=("Oslo", "Seoul"), pattern="[A-Z].*", missing=False)
    age = Check(input="age", at_most="limit", minimum=1.0, maximum=120.0)
    assert [str(rule) for rule in rules_of(FRAME, None, (city, age))] == [
        "city set: one of `Oslo`, `Seoul` (stated)",
        "city pattern: text that matches `[A-Z].*` (stated)",
        "city missing: a value (stated)",
        "age range: 1 to 120 (stated)",
        "age at_most: at most the value of `limit` (stated)",
    ]
