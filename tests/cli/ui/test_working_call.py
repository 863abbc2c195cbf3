from __future__ import annotations

import pytest

from lading.cli.ui.working_call import name_of, named_options
from lading.ref import check_name

OPTIONS = ("--samples", "--trust-type", "--golden")


@pytest.mark.parametrize(
    ("hint", "options"),
    [
        ("pass `--samples FILE` (`samples=X` in Python)", "--samples FILE"),
        ("name it: `--trust-type a.B` `--trust-type c.D`", "--trust-type a.B --trust-type c.D"),
        ("`--golden rows`, or `--samples FILE`", "--golden rows"),
        ("`--timeout-s` allows more time", ""),
        ("put it into a module", ""),
    ],
)
def test_the_options_that_a_hint_names_are_those_of_the_call(hint, options):
    assert named_options(hint, OPTIONS) == options


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("train:Model_2", "model-2"),
        ("out/My Net.v2.onnx", "my-net.v2"),
        ("한국", "my-model"),
        (None, "my-model"),
    ],
)
def test_a_model_gets_a_name_that_it_may_have(model, name):
    assert name_of(model) == name
    check_name(name)
