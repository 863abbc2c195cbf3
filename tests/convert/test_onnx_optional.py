"""Optional inputs: given in every request, or in none."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from support.hosted_app import hosted, served_from
from support.packed_graphs import FLOAT, node, pack_graph, tensors, value

KIND = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, ["n", 2]))
GIVEN = helper.make_graph([node("OptionalGetElement", ["o"], ["a"])], "given", [], [value("a", FLOAT, None)])
NOT_GIVEN = helper.make_graph([node("Neg", ["x"], ["b"])], "not_given", [], [value("b", FLOAT, None)])
NODES = [
    node("OptionalHasElement", ["o"], ["has"]),
    node("If", ["has"], ["y"], then_branch=GIVEN, else_branch=NOT_GIVEN),
]
IO = [value("x", FLOAT, ["n", 2]), helper.make_value_info("o", KIND)], [value("y", FLOAT, ["n", 2])]
ROWS = np.ones((4, 2), np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [15, 18, 21])
@pytest.mark.parametrize("samples", [None, {"x": ROWS, "o": 3 * ROWS}])
def test_an_optional_input_is_given_where_samples_have_it(tmp_path, opset, samples):
    notes: list[str] = []
    bundle = pack_graph(tmp_path, NODES, *IO, samples=samples, opset=opset, on_note=notes.append)
    assert tensors(bundle, "inputs") == {"x": "float32 [batch, 2]", "o": "float32 [batch, 2]"}
    assert "`o`: optional in the file, given in every request" in notes[0]
    body = {"data": {"x": [[1, 1]] * 2, "o": [[5, 6]] * 2}}
    assert hosted(served_from(bundle)).post("/predict", body).json() == {"prediction": [[5.0, 6.0]] * 2}


@pytest.mark.slow
@pytest.mark.parametrize("opset", [15, 18, 21])
@pytest.mark.parametrize("samples", [ROWS, {"x": ROWS}])
def test_an_optional_input_that_samples_do_not_have_is_in_no_request(tmp_path, opset, samples):
    notes: list[str] = []
    bundle = pack_graph(tmp_path, NODES, *IO, samples=samples, opset=opset, on_note=notes.append)
    assert tensors(bundle, "inputs") == {"x": "float32 [batch, 2]"}
    assert "`o`: optional in the file and not in the samples" in notes[0]
    client = hosted(served_from(bundle))
    assert client.post("/predict", {"data": {"x": [[1, 2]] * 2}}).json() == {"prediction": [[-1.0, -2.0]] * 2}
    assert client.post("/predict", {"data": {"x": [[1, 2]] * 2, "o": [[5, 6]] * 2}}).status_code in (400, 422)
