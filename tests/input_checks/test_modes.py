"""What is done about values that fail: one mode for all models, others for some."""

from __future__ import annotations

import pytest

from lading.errors import InvalidName, InvalidSetting
from lading.input_checks.modes import Modes


@pytest.mark.parametrize(
    ("text", "modes"),
    [
        ("count", {"iris": "count", "other": "count"}),
        ("reject", {"iris": "reject"}),
        ("iris=reject,other=off", {"iris": "reject", "other": "off", "third": "count"}),
        ("off, iris=warn", {"iris": "warn", "other": "off"}),
        ("", {"iris": "count"}),
    ],
)
def test_a_setting_has_modes_by_model(text, modes):
    assert {name: Modes(text).of(name) for name in modes} == modes


def test_whether_any_model_may_have_a_mode_is_known():
    assert Modes("off,iris=warn").has("warn", "reject")
    assert not Modes("off").has("count", "warn", "reject")


@pytest.mark.parametrize(
    ("text", "kind"), [("strict", InvalidSetting), ("iris=", InvalidSetting), ("A b=off", InvalidName)]
)
def test_what_is_no_mode_is_refused(text, kind):
    with pytest.raises(kind):
        Modes(text)
