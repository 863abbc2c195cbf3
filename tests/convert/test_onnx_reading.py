"""What is no model, and what no signature can name: refused in one sentence with the way out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lading.errors import ConverterFailed
from lading.pack import pack
from support.packed_graphs import FLOAT, OWNER, node, pack_graph, tensors, value

FLOATS = helper.make_tensor_type_proto(FLOAT, ["n", 3])
NAMELESS = [
    (value("x", TensorProto.COMPLEX64, ["n", 3]), "complex64"),
    (value("x", TensorProto.FLOAT8E4M3FN, ["n", 3]), "float8e4m3fn"),
    (value("x", TensorProto.INT4, ["n", 3]), "int4"),
    (helper.make_value_info("x", helper.make_sequence_type_proto(FLOATS)), "a sequence of float32"),
    (helper.make_value_info("x", helper.make_map_type_proto(TensorProto.INT64, FLOATS)), "a map"),
    (
        helper.make_value_info("x", helper.make_optional_type_proto(helper.make_sequence_type_proto(FLOATS))),
        "an optional of a sequence of float32",
    ),
    (
        helper.make_value_info("x", helper.make_sparse_tensor_type_proto(FLOAT, ["n", 3])),
        "a sparse tensor of float32",
    ),
    (helper.make_value_info("x", helper.make_tensor_type_proto(FLOAT, None)), "none, not even a number"),
    (value("x", FLOAT, ["n", 0]), "0 on axis 1"),
]


@pytest.mark.parametrize(("declared", "found"), NAMELESS, ids=[reason for _, reason in NAMELESS])
def test_an_input_that_no_signature_can_name_is_refused_by_what_it_is(tmp_path, declared, found):
    with pytest.raises(ConverterFailed, match=r"input `x` of `m\.onnx`") as caught:
        pack_graph(tmp_path, [node("Identity", ["x"], ["y"])], [declared], [value("y", FLOAT, None)])
    assert found in caught.value.found
    assert caught.value.hint


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.FLOAT8E5M2, TensorProto.UINT4])
def test_an_output_that_no_signature_can_name_is_refused_before_it_is_run(tmp_path, kind):
    io = [value("x", FLOAT, ["n", 3])], [value("y", kind, ["n", 3])]
    with pytest.raises(ConverterFailed, match=r"output `y`") as caught:
        pack_graph(tmp_path, [node("Cast", ["x"], ["y"], to=kind)], *io, opset=21, ir_version=10)
    assert caught.value.found == TensorProto.DataType.Name(kind).lower()


def test_a_model_that_takes_nothing_from_a_caller_is_refused(tmp_path):
    weights = [helper.make_tensor("w", FLOAT, [2], [1, 2])]
    for inputs in ([], [value("w", FLOAT, [2])]):
        with pytest.raises(ConverterFailed, match="expected an input, found none"):
            pack_graph(
                tmp_path, [node("Neg", ["w"], ["y"])], inputs, [value("y", FLOAT, [2])], weights=weights
            )


def test_an_output_that_is_declared_by_name_alone_has_the_type_that_it_has(tmp_path):
    untyped = helper.make_empty_tensor_value_info("y")
    untyped.ClearField("type")
    bundle = pack_graph(tmp_path, [node("Neg", ["x"], ["y"])], [value("x", FLOAT, ["n", 3])], [untyped])
    assert tensors(bundle) == {"y": "float32 [batch, 3]"}


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html></html>", "a page of HTML"),
        (b"PK\x03\x04" + bytes(30), "a zip archive"),
        (b"\x80\x04\x95" + bytes(30), "a pickle"),
        (b"\x20\0\0\0ORTM" + bytes(30), "ONNX Runtime's own format"),
        (b"", "no graph"),
        (b"\xff" * 40, "corrupt"),
    ],
)
def test_a_file_that_is_no_model_is_refused_by_what_it_is(tmp_path, start, found):
    (tmp_path / "m.onnx").write_bytes(start)
    with pytest.raises(ConverterFailed, match="expected an ONNX file") as caught:
        pack(tmp_path / "m.onnx", name="m", owner=OWNER, to=tmp_path / "b")
    assert found in caught.value.found


def test_weights_that_are_not_beside_the_model_are_refused_by_that(tmp_path):
    weights = numpy_helper.from_array(np.ones(3, np.float32), "w")
    io = [value("x", FLOAT, ["n", 3])], [value("y", FLOAT, ["n", 3])]
    pack_graph(tmp_path, [node("Mul", ["x", "w"], ["y"])], *io, weights=[weights])
    model = onnx.load(tmp_path / "m.onnx")
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ConverterFailed, match="expected an ONNX file") as caught:
        pack(tmp_path / "m.onnx", name="m", owner=OWNER, to=tmp_path / "c")
    assert "external data" in str(caught.value.hint)


def test_an_unknown_dtype_is_refused_by_its_number(tmp_path):
    with pytest.raises(ConverterFailed, match="found dtype 99"):
        pack_graph(
            tmp_path, [node("Neg", ["x"], ["y"])], [value("x", 99, ["n", 3])], [value("y", FLOAT, None)]
        )
