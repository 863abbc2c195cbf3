"""The outputs that a request selects."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from onnx import helper

from lading.errors import BodyInvalid, OutputUnknown
from lading.server.protocols.oip.selection import SelectedOutput, Selection, select_outputs
from lading.signature import Signature, Tensor
from support.echo_models import bundle_of, model_of
from support.hosted_app import served_from


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


def test_a_selection_is_remembered_but_not_without_limit(tmp_path):
    # Clients choose the names and their order: 720 orders of six outputs.
    x = Tensor(name="x", dtype="float32", shape=("batch", 1))
    outputs = tuple(Tensor(name=f"y{at}", dtype="float32", shape=("batch", 1)) for at in range(6))
    nodes = [helper.make_node("Identity", ["x"], [output.name]) for output in outputs]
    signature = Signature((x,), outputs)
    inputs = {"x": np.ones((2, 1), np.float32)}
    six = served_from(bundle_of(tmp_path / "six", "six", model_of(nodes, (x,), outputs), signature, inputs))
    names = [output.name for output in outputs]
    assert select_outputs(six, ("y1",), binary=False) is select_outputs(six, ("y1",), binary=False)
    for order in permutations(names):
        assert [each.tensor.name for each in select_outputs(six, order, binary=False).outputs] == list(order)
    remembered = [key for key in six.model.plans if isinstance(key, tuple) and key[0] is Selection]
    assert 1 < len(remembered) <= 256


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"parameters": {"binary_data": True}}])
def test_an_output_named_again_and_again_is_refused(client, more):
    # 108 kB were answered with 132 MB.
    body = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}],
        "outputs": [{"name": "y", **more}] * 40_000,
    }
    answer = client.post("/v2/models/echo-float32/infer", json=body)
    assert answer.status_code == 400
    assert "found `y` again" in answer.json()["error"]


@pytest.mark.parametrize("classes", [-1, True, 1.5, "2", None])
def test_a_number_of_classes_is_a_natural_number(pair, classes):
    with pytest.raises(BodyInvalid, match=r"`outputs\[0\]\.classification`"):
        SelectedOutput.parse(pair.signature.outputs[0], classes, "outputs[0]", binary=False)
