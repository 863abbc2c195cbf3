"""Forms that real ONNX files have: scalars, states, rates, several counts, dynamic int8, bfloat16."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lading.errors import ConverterFailed, InvalidSetting, SamplesRefused
from lading.pack import pack
from support.hosted_app import hosted, served_from
from support.packed_graphs import FLOAT, INT64, OWNER, node, pack_graph, tensors, value

SUMS = [
    node("ReduceSum", ["x"], ["a"], keepdims=0),
    node("ReduceSum", ["h"], ["b"], keepdims=0),
    node("Add", ["a", "b"], ["y"]),
]


@pytest.mark.slow
@pytest.mark.parametrize("order", [("x", "h"), ("h", "x")])
@pytest.mark.parametrize("name", ["n", "batch", None])
@pytest.mark.parametrize("drawn", [True, False])
def test_a_state_whose_rows_are_on_another_axis_packs(tmp_path, order, name, drawn):
    inputs = {"x": value("x", FLOAT, [name, 8]), "h": value("h", FLOAT, [2, name, 16])}
    arrays = {"x": np.ones((4, 8), np.float32), "h": np.ones((2, 4, 16), np.float32)}
    declared = [inputs[key] for key in order]
    samples = None if drawn else arrays
    bundle = pack_graph(tmp_path, SUMS, declared, [value("y", FLOAT, [])], samples=samples)
    signature = bundle.manifest.signature
    assert not signature.batched
    if name:
        rows = {tensor.name: tensor.shape for tensor in signature.inputs}
        assert rows["x"][0] == rows["h"][1] != "batch"


RATE = [node("Cast", ["sr"], ["s"], to=FLOAT), node("Mul", ["x", "s"], ["y"])]


@pytest.mark.parametrize("order", [("x", "sr"), ("sr", "x")])
@pytest.mark.parametrize("samples", [None, {"x": np.ones((4, 8), np.float32), "sr": np.array(2)}])
def test_a_scalar_input_packs_and_serves(tmp_path, order, samples):
    inputs = {"x": value("x", FLOAT, ["n", 8]), "sr": value("sr", INT64, [])}
    outputs = [value("y", FLOAT, ["n", 8])]
    bundle = pack_graph(tmp_path, RATE, [inputs[key] for key in order], outputs, samples=samples)
    client = hosted(served_from(bundle))
    answer = client.post("/predict", {"data": {"x": [[1] * 8], "sr": 3}})
    assert answer.json() == {"prediction": [[3.0] * 8]} or answer.json() == {"prediction": [3.0] * 8}


@pytest.mark.slow
def test_sizes_that_count_other_things_are_no_batch(tmp_path):
    nodes = [node("Gather", ["nodes", "edges"], ["y"])]
    declared = [value("nodes", FLOAT, ["n", 3]), value("edges", INT64, ["e", 2])]
    bundle = pack_graph(tmp_path, nodes, declared, [value("y", FLOAT, ["e", 2, 3])])
    assert tensors(bundle, "inputs") == {"nodes": "float32 [n, 3]", "edges": "int64 [e, 2]"}
    square = [value("m", FLOAT, ["n", "n"])]
    (tmp_path / "square").mkdir()
    nodes = [node("Relu", ["m"], ["y"])]
    bundle = pack_graph(tmp_path / "square", nodes, square, [value("y", FLOAT, ["n", "n"])])
    assert tensors(bundle, "inputs") == {"m": "float32 [n, n]"}


INT8 = [
    node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
    node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
]


def test_dynamic_quantisation_is_packed_so_that_requests_are_never_merged(tmp_path):
    notes: list[str] = []
    shape = ["n", 4]
    bundle = pack_graph(
        tmp_path, INT8, [value("x", FLOAT, shape)], [value("y", FLOAT, shape)], on_note=notes.append
    )
    assert not bundle.manifest.signature.independent_rows
    assert "`DynamicQuantizeLinear` takes its scale from all rows" in " ".join(notes)
    assert bundle.samples().rows == 1  # what a row has among others may depend on the threads, too


def test_rows_that_are_shown_to_depend_on_others_are_never_merged(tmp_path):
    # The same by plain operators: no name gives it away, rows of different size do.
    nodes = [
        node("Abs", ["x"], ["size"]),
        node("ReduceMax", ["size"], ["most"], keepdims=0),
        node("Div", ["x", "most"], ["share"]),
        node("Mul", ["share", "levels"], ["wide"]),
        node("Round", ["wide"], ["y"]),
    ]
    levels = numpy_helper.from_array(np.array(127, np.float32), "levels")
    io = [value("x", FLOAT, ["n", 4])], [value("y", FLOAT, ["n", 4])]
    bundle = pack_graph(tmp_path, nodes, *io, weights=[levels])
    assert not bundle.manifest.signature.independent_rows


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 3, 6, 8, 64])
def test_an_output_whose_steps_come_before_its_rows_packs(tmp_path, steps):
    # As many steps as rows in a run must not be taken for rows.
    nodes = [node("Transpose", ["x"], ["y"], perm=[1, 0, 2])]
    io = [value("x", FLOAT, ["n", steps, 4])], [value("y", FLOAT, [steps, "n", 4])]
    bundle = pack_graph(tmp_path, nodes, *io)
    assert tensors(bundle) == {"y": f"float32 [{steps}, n, 4]"}
    assert not bundle.manifest.signature.batched


def test_random_answers_are_refused(tmp_path):
    nodes = [node("RandomNormalLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"])]
    with pytest.raises(ConverterFailed, match="the same answer to the same input"):
        pack_graph(tmp_path, nodes, [value("x", FLOAT, ["n", 4])], [value("y", FLOAT, ["n", 4])])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ((), ("batch", 8)),
        ("none", ("n", 8)),
        (["x=none"], ("n", 8)),
        ({"x": None}, ("n", 8)),
        ("x=1", ("n", "rows")),
    ],
)
def test_the_batch_axis_can_be_said(tmp_path, axes, shape):
    declared = ["n", 8] if shape[1] == 8 else ["n", "m"]
    io = [value("x", FLOAT, declared)], [value("y", FLOAT, declared)]
    bundle = pack_graph(tmp_path, [node("Relu", ["x"], ["y"])], *io, batch_axis=axes)
    assert bundle.manifest.signature.inputs[0].shape == shape


@pytest.mark.parametrize("axes", ["first", "x=-1", "=0", "z=0", "x=7"])
def test_a_batch_axis_that_is_none_is_refused(tmp_path, axes):
    io = [value("x", FLOAT, ["n", 8])], [value("y", FLOAT, ["n", 8])]
    with pytest.raises(InvalidSetting, match="batch_axis"):
        pack_graph(tmp_path, [node("Relu", ["x"], ["y"])], *io, batch_axis=axes)


def test_bfloat16_becomes_float32_at_the_ends(tmp_path):
    kind, notes = TensorProto.BFLOAT16, []
    io = [value("x", kind, ["n", 2])], [value("y", kind, ["n", 2])]
    bundle = pack_graph(tmp_path, [node("Identity", ["x"], ["y"])], *io, on_note=notes.append)
    assert tensors(bundle, "inputs") == {"x": "float32 [batch, 2]"}
    assert "bfloat16 in the file" in notes[0]


def test_nodes_out_of_order_are_put_in_order(tmp_path):
    nodes = [node("Relu", ["a"], ["y"]), node("Neg", ["x"], ["a"])]
    notes: list[str] = []
    io = [value("x", FLOAT, ["n", 2])], [value("y", FLOAT, ["n", 2])]
    bundle = pack_graph(tmp_path, nodes, *io, on_note=notes.append)
    onnx.checker.check_model(onnx.load(bundle.model_path))
    assert "not in the order that ONNX asks for" in notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("size", [96, 224])
def test_images_are_drawn_in_sizes_that_a_model_takes(tmp_path, size):
    # A convolution as large as the image takes no smaller one; the reshape takes no larger one.
    kernel = numpy_helper.from_array(np.ones((1, 3, size, size), np.float32), "kernel")
    shape = numpy_helper.from_array(np.array([-1, 1], np.int64), "shape")
    nodes = [node("Conv", ["x", "kernel"], ["c"]), node("Reshape", ["c", "shape"], ["y"])]
    io = [value("x", FLOAT, ["n", 3, "h", "w"])], [value("y", FLOAT, ["n", 1])]
    bundle = pack_graph(tmp_path, nodes, *io, weights=[kernel, shape])
    assert bundle.samples().inputs["x"].shape[2] >= size


def test_a_model_that_takes_no_drawn_size_says_how_to_give_samples(tmp_path):
    shape = numpy_helper.from_array(np.array([-1, 1, 37], np.int64), "shape")
    io = [value("x", FLOAT, [1, "w"])], [value("y", FLOAT, None)]
    with pytest.raises(SamplesRefused) as caught:
        pack_graph(tmp_path, [node("Reshape", ["x", "shape"], ["y"])], *io, weights=[shape])
    assert "--samples" in str(caught.value.hint)
    assert "Reshape" not in caught.value.message


def test_integers_are_drawn_from_the_whole_table_that_they_look_up(tmp_path):
    table = numpy_helper.from_array(np.arange(600, dtype=np.float32).reshape(300, 2), "table")
    io = [value("ids", INT64, ["n", "t"])], [value("y", FLOAT, ["n", "t", 2])]
    bundle = pack_graph(tmp_path, [node("Gather", ["table", "ids"], ["y"])], *io, weights=[table])
    drawn = bundle.samples().inputs["ids"]
    assert 200 < drawn.max() < 300


def test_an_input_with_a_default_is_not_asked_for(tmp_path):
    model = helper.make_model(
        helper.make_graph(
            [node("Mul", ["x", "scale"], ["y"])],
            "g",
            [value("x", FLOAT, ["n", 2]), value("scale", FLOAT, [])],
            [value("y", FLOAT, ["n", 2])],
            [numpy_helper.from_array(np.array(3, np.float32), "scale")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "m.onnx")
    bundle = pack(tmp_path / "m.onnx", name="m", owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"x": "float32 [batch, 2]"}


def test_sizes_that_an_exporter_only_numbered_are_one_batch(tmp_path):
    nodes = [node("Add", ["a", "b"], ["y"])]
    declared = [value("a", FLOAT, ["unk__1", 2]), value("b", FLOAT, ["unk__2", 2])]
    bundle = pack_graph(tmp_path, nodes, declared, [value("y", FLOAT, ["unk__3", 2])])
    assert bundle.manifest.signature.batched


def test_one_size_alone_is_drawn_large(tmp_path):
    weights = numpy_helper.from_array(np.ones((256, 2), np.float32), "w")
    io = (
        [value("x", FLOAT, ["rows", "length"]), value("rows_of", FLOAT, [1, "rows"])],
        [value("y", FLOAT, None)],
    )
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("MatMul", ["rows_of", "p"], ["y"])]
    bundle = pack_graph(tmp_path, nodes, *io, weights=[weights])
    assert bundle.samples().inputs["x"].shape == (8, 256)


@pytest.mark.parametrize(
    ("op", "opset", "ir_version", "found", "hint"),
    [
        ("Foo", 17, 8, "Foo node: No Op registered for Foo with domain_version of 17", "another library"),
        ("Relu", 1000, 8, "till opset", "older version"),
        ("Relu", 17, 1000, "Unsupported model IR version: 1000", "older version"),
        ("Relu", 3, 8, "Could not find an implementation for Relu(1)", "another opset"),
    ],
)
def test_a_model_that_does_not_load_is_refused_in_one_sentence(tmp_path, op, opset, ir_version, found, hint):
    io = [value("x", FLOAT, ["n", 2])], [value("y", FLOAT, ["n", 2])]
    with pytest.raises(ConverterFailed) as caught:
        pack_graph(tmp_path, [node(op, ["x"], ["y"])], *io, opset=opset, ir_version=ir_version)
    assert found in caught.value.message
    assert hint in str(caught.value.hint)
    assert "ONNXRuntimeError" not in caught.value.message
    assert "onnxruntime::" not in caught.value.message


def test_rows_that_are_answered_twice_are_no_batch(tmp_path):
    nodes = [node("Concat", ["x", "x"], ["y"], axis=0)]
    bundle = pack_graph(tmp_path, nodes, [value("x", FLOAT, ["n", 3])], [value("y", FLOAT, ["2*n", 3])])
    assert not bundle.manifest.signature.batched
    assert tensors(bundle) == {"y": "float32 [2*n, 3]"}


def test_an_output_without_values_packs_and_serves(tmp_path):
    bounds = [numpy_helper.from_array(np.array([at]), name) for name, at in (("a", 0), ("b", 0), ("axis", 1))]
    nodes = [node("Slice", ["x", "a", "b", "axis"], ["y"])]
    io = [value("x", FLOAT, ["n", 3])], [value("y", FLOAT, ["n", 0])]
    bundle = pack_graph(tmp_path, nodes, *io, weights=bounds)
    answer = hosted(served_from(bundle)).post("/predict", {"data": [[1, 2, 3], [4, 5, 6]]})
    assert answer.json() == {"prediction": [[], []]}


@pytest.mark.parametrize("samples", [None, np.ones((1, 5), np.float32)])
def test_a_model_that_takes_one_row_only_packs_with_one_row(tmp_path, samples):
    # The batch is a name only: the exporter wrote the one row of its example into the graph.
    shape = numpy_helper.from_array(np.array([1, 5]), "shape")
    nodes = [node("Reshape", ["x", "shape"], ["y"])]
    io = [value("x", FLOAT, ["batch", 5])], [value("y", FLOAT, [1, 5])]
    notes: list[str] = []
    bundle = pack_graph(tmp_path, nodes, *io, weights=[shape], samples=samples, on_note=notes.append)
    assert tensors(bundle, "inputs") == {"x": "float32 [1, 5]"}
    assert "takes one row in a call" in notes[0]


def test_many_rows_for_a_model_that_takes_one_are_refused_by_that(tmp_path):
    shape = numpy_helper.from_array(np.array([1, 5]), "shape")
    io = [value("x", FLOAT, ["batch", 5])], [value("y", FLOAT, [1, 5])]
    samples = np.ones((3, 5), np.float32)
    with pytest.raises(SamplesRefused, match="the model takes no more in one call, found 3 rows"):
        pack_graph(tmp_path, [node("Reshape", ["x", "shape"], ["y"])], *io, weights=[shape], samples=samples)


@pytest.mark.parametrize("between", [[], ["Flatten"], ["Concat"]])
def test_texts_are_drawn_from_those_that_a_model_knows(tmp_path, between):
    steps = [node(op, ["x"], ["f"], **({"axis": 1} if op == "Concat" else {})) for op in between]
    encoder = helper.make_node(
        "OneHotEncoder", ["f" if steps else "x"], ["y"], domain="ai.onnx.ml", cats_strings=["p", "q"], zeros=0
    )
    io = [value("x", TensorProto.STRING, ["n", 1])], [value("y", FLOAT, None)]
    bundle = pack_graph(tmp_path, [*steps, encoder], *io)
    assert set(bundle.samples().inputs["x"].ravel()) == {"p", "q"}


BRANCHES = {
    f"{name}_branch": helper.make_graph([made], name, [], [value(name, FLOAT, None)])
    for name, made in (
        ("then", node("Identity", ["x"], ["then"])),
        ("else", node("Concat", ["x", "x"], ["else"], axis=1)),
    )
}


def test_sizes_that_follow_from_values_are_open(tmp_path):
    # One run shows one of the two sizes.
    io = [value("x", FLOAT, ["n", 3]), value("c", TensorProto.BOOL, [])], [value("y", FLOAT, None)]
    bundle = pack_graph(tmp_path, [node("If", ["c"], ["y"], **BRANCHES)], *io)
    assert tensors(bundle) == {"y": "float32 [batch, y_1]"}


def test_an_output_without_a_shape_has_the_one_that_follows_from_the_graph(tmp_path):
    table = numpy_helper.from_array(np.ones((50, 2), np.float32), "table")
    io = [value("ids", INT64, ["n", "t"])], [value("y", FLOAT, None)]
    bundle = pack_graph(tmp_path, [node("Gather", ["table", "ids"], ["y"])], *io, weights=[table])
    assert tensors(bundle) == {"y": "float32 [batch, t, 2]"}


def test_a_count_is_drawn_so_that_it_shows_what_is_counted(tmp_path):
    inside = [value("i", INT64, []), value("go", TensorProto.BOOL, []), value("v", FLOAT, None)]
    outside = [value("goes", TensorProto.BOOL, []), value("next", FLOAT, None), value("step", FLOAT, None)]
    steps = [
        node("Identity", ["go"], ["goes"]),
        node("Neg", ["v"], ["next"]),
        node("Identity", ["next"], ["step"]),
    ]
    body = helper.make_graph(steps, "body", inside, outside)
    io = (
        [value("x", FLOAT, ["n", 3]), value("count", INT64, [])],
        [value("y", FLOAT, ["n", 3]), value("steps", FLOAT, ["k", "n", 3])],
    )
    bundle = pack_graph(tmp_path, [node("Loop", ["count", "", "x"], ["y", "steps"], body=body)], *io)
    assert tensors(bundle)["steps"] == "float32 [k, n, 3]"


def test_sizes_beyond_all_memory_are_refused(tmp_path):
    io = [value("x", FLOAT, ["n", 2**40])], [value("y", FLOAT, ["n", 2**40])]
    with pytest.raises(SamplesRefused):
        pack_graph(tmp_path, [node("Neg", ["x"], ["y"])], *io)


def test_a_bfloat16_input_that_is_an_output_too_packs(tmp_path):
    kind = TensorProto.BFLOAT16
    io = (
        [value("x", kind, ["n", 2])],
        [value("x", kind, ["n", 2]), value("y", FLOAT, ["n", 2])],
    )
    bundle = pack_graph(tmp_path, [node("Cast", ["x"], ["y"], to=FLOAT)], *io)
    assert tensors(bundle) == {"x": "float32 [batch, 2]", "y": "float32 [batch, 2]"}
