"""The live gates: what the table ``[live]`` may say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lading.errors import InvalidSetting
from lading.gates import Gates
from lading.verdict import LiveGates, parse_live, read_live
from lading.verdict.limits import GATES, NO_LIMIT

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "verdict.md"


def test_only_stated_limits_are_read_and_the_others_have_defaults():
    stated = parse_live("[live]\nmax_error_increase = 0.01")
    assert stated == {"max_error_increase": 0.01}
    assert LiveGates.of(stated) == LiveGates(max_error_increase=0.01)


def test_one_file_serves_verify_and_the_verdict(tmp_path):
    file = tmp_path / "gates.toml"
    file.write_text("max_size_mb = 5\n[live]\nmin_agreement = 0.8\n")
    assert read_live(file) == {"min_agreement": 0.8}
    assert Gates.read(file) == Gates(max_size_mb=5)
    file.write_text("max_size_mb = 5\n")
    assert read_live(file) == {}


@pytest.mark.parametrize("gate", GATES)
def test_false_turns_a_gate_off(gate):
    assert LiveGates().judged(gate) == (gate != "min_value_agreement")
    assert not LiveGates.of(parse_live(f"[live]\n{gate} = false")).judged(gate)


def test_every_field_is_a_gate_or_a_chance():
    fields = {field.name for field in msgspec.structs.fields(LiveGates)}
    assert fields == {*GATES, "alpha", "beta", "roll_back_agreement", "relative_difference"}
    assert set(NO_LIMIT) == set(GATES)


def test_a_stated_agreement_is_where_a_candidate_is_rolled_back_too():
    assert LiveGates.of({}).roll_back_agreement == 0.5
    assert LiveGates.of({"min_agreement": 0.8}).roll_back_agreement == 0.8
    assert LiveGates.of({"min_agreement": 0.8, "roll_back_agreement": 0.3}).roll_back_agreement == 0.3
    assert not LiveGates.of(parse_live("[live]\nmin_agreement = false")).judged("min_agreement")


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("max_eror_increase = 0.1", "found `max_eror_increase`", "did you mean `max_error_increase`?"),
        ("zzz = 1", "expected one of `max_error_increase`", None),
        (
            "max_error_increase = 2",
            "`live.max_error_increase` in `gates`: expected a number of at least 0 and at most 1",
            None,
        ),
        ("max_latency_p99_ratio = 0.5", "at least 1 and at most 1000, found `0.5`", None),
        ("alpha = 0", "`live.alpha`", None),
        ("beta = false", "`live.beta`", None),
        ("min_agreement = true", "found `true`", None),
        ("max_output_shift = nan", "found `nan`", None),
        ('max_output_shift = "0.1"', "found `0.1`", None),
    ],
)
def test_unknown_gates_and_limits_out_of_range_are_refused(line, message, hint):
    with pytest.raises(InvalidSetting) as caught:
        parse_live(f"[live]\n{line}")
    assert message in caught.value.message
    assert hint is None or hint in str(caught.value.hint)


def test_live_must_be_a_table():
    with pytest.raises(InvalidSetting, match="expected a table of gates, found `5`"):
        parse_live("live = 5")


def test_the_page_lists_every_gate_with_its_default():
    page = PAGE.read_text(encoding="utf-8")
    example = page.split("```toml")[1].split("```")[0]
    assert LiveGates.of(parse_live(example)) == LiveGates()
    others = {"alpha", "beta", "roll_back_agreement", "relative_difference"}
    assert set(parse_live(example)) == {*GATES, *others}
    for gate in GATES:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{gate}` |")]
        assert f"| {getattr(LiveGates(), gate):g} |" in row
