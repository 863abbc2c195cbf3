"""The outputs that a request selects."""

from __future__ import annotations

import pytest

from lading.errors import BodyInvalid, OutputUnknown
from lading.server.protocols.oip.selection import SelectedOutput, Selection, select_outputs


@pytest.fixture
def pair(versions):
    """Return the version of a model with the two outputs `total` and `rest`."""
    return next(served for served in versions if served.name == "sum")


def test_no_names_select_every_output_and_compute_all(pair):
    selection = select_outputs(pair, (), binary=False)
    assert [output.tensor.name for output in selection.outputs] == ["total", "rest"]
    assert selection.compute is None


def test_selected_outputs_keep_their_order_and_alone_are_computed(pair):
    selection = select_outputs(pair, ("rest",), binary=True)
    assert [(output.tensor.name, output.binary) for output in selection.outputs] == [("rest", True)]
    assert selection.compute == ("rest",)
    # Both outputs in another order are still all: such requests can run in one batch with others.
    assert select_outputs(pair, ("rest", "total"), binary=True).compute is None


def test_an_unknown_output_is_refused(pair):
    with pytest.raises(OutputUnknown, match="`nothing`"):
        select_outputs(pair, ("nothing",), binary=False)


def test_one_output_may_be_selected_in_two_forms(pair):
    total = pair.signature.outputs[0]
    selection = Selection.of(pair, (SelectedOutput(total), SelectedOutput(total, classes=1)))
    assert [output.datatype for output in selection.outputs] == ["FP32", "BYTES"]
    assert selection.compute == ("total",)


def test_a_selection_is_remembered_but_not_without_limit(pair):
    assert select_outputs(pair, ("total",), binary=False) is select_outputs(pair, ("total",), binary=False)
    for count in range(300):
        select_outputs(pair, ("total",) * (count + 2), binary=False)
    remembered = [key for key in pair.model.plans if isinstance(key, tuple) and key[0] is Selection]
    assert len(remembered) <= 256


@pytest.mark.parametrize("classes", [-1, True, 1.5, "2", None])
def test_a_number_of_classes_is_a_natural_number(pair, classes):
    with pytest.raises(BodyInvalid, match=r"`outputs\[0\]\.classification`"):
        SelectedOutput.parse(pair.signature.outputs[0], classes, "outputs[0]", binary=False)
