"""What a graph refuses itself: the reason travels in the name of a node."""

from __future__ import annotations

import pytest

from lading.errors import ValueRefused
from lading.onnx_runtime.error_text import error_sentence
from lading.onnx_runtime.refusals import Refused, refusal_in, refusing_part

MESSAGE = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running OneHotEncoder node. "
    "Name:'{name}' Status Message: Unknown Category and zeros = 0."
)


def refusal(name):
    return refusal_in(error_sentence(RuntimeError(MESSAGE.format(name=name))), "row 3")


@pytest.mark.parametrize("reason", Refused)
def test_each_reason_is_read_from_the_name_of_the_node(reason):
    error = refusal(f"{reason.node_name('Ridge')}OneHotEncoder_1")
    assert isinstance(error, ValueRefused)
    assert (error.where, error.expected) == ("row 3", reason.expected.format(step="Ridge"))
    assert "{" not in str(error)


@pytest.mark.parametrize("name", ["", "OneHotEncoder_1", "refuse/UNKNOWN/Ridge/x"])
def test_an_encoder_of_another_converter_refuses_categories(name):
    error = refusal(name)
    assert error is not None
    assert error.expected == Refused.CATEGORY.expected


def test_another_failure_is_no_refusal():
    assert refusal_in("Reshape node: The input tensor cannot be reshaped", "row 3") is None


def test_only_the_names_of_refusing_nodes_are_kept():
    assert refusing_part("refuse/CATEGORY/encoder/refuse12") == "refuse/CATEGORY/encoder/"
    assert refusing_part("OneHotEncoder") == ""
