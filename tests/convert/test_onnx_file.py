"""ONNX files as they come: their batch dimension, names, dtypes and samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from lading.errors import (
    ConverterFailed,
    ParityLost,
    SamplesRefused,
)
from lading.pack import pack
from support.packed_graphs import FLOAT, INT64, node, pack_graph, tensors, value
from support.sklearn_models import OWNER, X, answer


def test_an_open_first_dimension_that_all_inputs_share_is_the_batch(tmp_path):
    bundle = pack_graph(
        tmp_path,
        [node("Add", ["a", "b"], ["c"])],
        [value("a", FLOAT, ["n", 3]), value("b", FLOAT, ["n", 3])],
        [value("c", FLOAT, ["n", 3])],
    )
    assert tensors(bundle, "inputs") == {"a": "float32 [batch, 3]", "b": "float32 [batch, 3]"}
    assert tensors(bundle) == {"c": "float32 [batch, 3]"}
    assert bundle.manifest.purpose == "inference"


def test_other_open_dimensions_keep_their_names(tmp_path):
    bundle = pack_graph(
        tmp_path,
        [node("Relu", ["a"], ["d"])],
        [value("a", FLOAT, [None, "time"])],
        [value("d", FLOAT, [None, "time"])],
    )
    assert tensors(bundle) == {"d": "float32 [batch, time]"}


def test_first_dimensions_that_differ_are_not_a_batch(tmp_path):
    bundle = pack_graph(
        tmp_path,
        [node("MatMul", ["a", "b"], ["c"])],
        [value("a", FLOAT, ["n", "k"]), value("b", FLOAT, ["k", "m"])],
        [value("c", FLOAT, ["n", "m"])],
    )
    assert tensors(bundle) == {"c": "float32 [n, m]"}
    assert bundle.samples().rows == 1


def test_a_model_fixed_to_one_row_stays_fixed(tmp_path):
    bundle = pack_graph(
        tmp_path, [node("Relu", ["a"], ["c"])], [value("a", FLOAT, [1, 3])], [value("c", FLOAT, [1, 3])]
    )
    assert tensors(bundle, "inputs") == {"a": "float32 [1, 3]"}


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.STRING, "string"),
        (TensorProto.BOOL, "bool"),
        (TensorProto.UINT8, "uint8"),
    ],
)
def test_every_dtype_of_a_signature_is_accepted(tmp_path, kind, dtype):
    bundle = pack_graph(
        tmp_path, [node("Identity", ["a"], ["c"])], [value("a", kind, ["n", 2])], [value("c", kind, ["n", 2])]
    )
    assert tensors(bundle) == {"c": f"{dtype} [batch, 2]"}


def test_a_dtype_that_no_signature_can_name_is_refused(tmp_path):
    kind = TensorProto.COMPLEX64
    with pytest.raises(ConverterFailed, match=r"input `a` of `m\.onnx`"):
        pack_graph(
            tmp_path, [node("Identity", ["a"], ["c"])], [value("a", kind, ["n"])], [value("c", kind, ["n"])]
        )


def test_a_classifiers_outputs_are_renamed_even_if_the_graph_uses_the_names(tmp_path):
    bundle = pack_graph(
        tmp_path,
        [
            node("Identity", ["a"], ["label"]),
            node("ArgMax", ["label"], ["output_label"], axis=1, keepdims=0),
            node("Softmax", ["label"], ["output_probability"]),
        ],
        [value("a", FLOAT, ["n", 3])],
        [value("output_label", INT64, ["n"]), value("output_probability", FLOAT, ["n", 3])],
        labels=["x", "y", "z"],
    )
    assert tensors(bundle) == {"label": "int64 [batch]", "probabilities": "float32 [batch, 3]"}
    assert bundle.manifest.purpose == "classification"


def test_outputs_keep_their_names_if_an_input_is_called_label(tmp_path):
    bundle = pack_graph(
        tmp_path,
        [
            node("ArgMax", ["label"], ["output_label"], axis=1, keepdims=0),
            node("Softmax", ["label"], ["output_probability"]),
        ],
        [value("label", FLOAT, ["n", 3])],
        [value("output_label", INT64, ["n"]), value("output_probability", FLOAT, ["n", 3])],
    )
    assert set(tensors(bundle)) == {"output_label", "output_probability"}


def test_initializers_among_the_inputs_of_an_ir_3_model_are_not_inputs(tmp_path):
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    bundle = pack_graph(
        tmp_path,
        [node("Add", ["a", "w"], ["c"])],
        [value("a", FLOAT, ["n", 2]), value("w", FLOAT, [2])],
        [value("c", FLOAT, ["n", 2])],
        weights=[weight],
        opset=9,
        ir_version=3,
    )
    assert set(tensors(bundle, "inputs")) == {"a"}


def test_missing_values_in_samples_are_allowed_in_requests(tmp_path):
    rows = np.array([[1.0, np.nan], [2.0, 3.0]])
    bundle = pack_graph(
        tmp_path,
        [node("Relu", ["a"], ["c"])],
        [value("a", FLOAT, ["n", 2])],
        [value("c", FLOAT, ["n", 2])],
        samples=rows,
    )
    assert bundle.manifest.signature.inputs[0].allows_nan


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (np.ones((4, 5)), "expected `float32 [batch, 3]`, found shape `[4, 5]`"),
        (
            np.array([["1", "2", "3"], ["4", "b", "6"]]),
            "column `X[1]`: expected values of `float32 [batch, 3]`, found the text `b` in row 1",
        ),
        (
            pd.DataFrame({"u": [1, 2], "v": ["3", "four"], "w": [5, 6]}),
            "column `v`: expected values of `float32 [batch, 3]`, found the text `four` in row 1",
        ),
        ({"a": np.array([["1", "2", "?"]])}, "column `a[2]`: expected values of"),
        ({"a": np.ones((2, 3)), "z": np.ones((2, 3))}, "nothing but the inputs, or every output: `c`"),
        ({"y": np.ones((2, 3)), "z": np.ones((2, 3))}, "expected input `a`"),
    ],
)
def test_samples_that_do_not_fit_the_model_are_refused(tmp_path, samples, sentence):
    with pytest.raises(SamplesRefused) as refusal:
        pack_graph(
            tmp_path,
            [node("Relu", ["a"], ["c"])],
            [value("a", FLOAT, ["n", 3])],
            [value("c", FLOAT, ["n", 3])],
            samples=samples,
        )
    assert sentence in refusal.value.message


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\x08"])
def test_a_file_that_is_not_a_model_is_refused(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ConverterFailed, match="expected an ONNX file"):
        pack(tmp_path / "m.onnx", name="m", owner=OWNER, to=tmp_path / "b")


OTHER = "a model is an .onnx file or `module:object`"
NO_BOOSTER = "save it with `save_model` of the framework, or name the object as module:object"


@pytest.mark.parametrize(
    ("ending", "hint"),
    [("json", NO_BOOSTER), ("txt", NO_BOOSTER), ("onnxtxt", OTHER), ("textproto", OTHER)],
)
def test_a_file_of_another_kind_is_refused_with_the_way_out(tmp_path, ending, hint):
    (tmp_path / f"label.{ending}").write_text('{"0": "setosa"}')
    with pytest.raises(ConverterFailed) as refusal:
        pack(tmp_path / f"label.{ending}", name="m", owner=OWNER, to=tmp_path / "b")
    assert len(refusal.value.message) < 200
    assert refusal.value.hint == hint


def test_external_data_is_moved_into_the_bundled_model(tmp_path):
    weight = numpy_helper.from_array(np.arange(2000, dtype=np.float32), "w")
    graph = helper.make_graph(
        [node("Add", ["a", "w"], ["c"])],
        "g",
        [value("a", FLOAT, ["n", 2000])],
        [value("c", FLOAT, ["n", 2000])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights", size_threshold=100)
    bundle = pack(tmp_path / "m.onnx", name="m", owner=OWNER, to=tmp_path / "b")
    assert sorted(bundle.manifest.files) == ["model.onnx", "requirements.txt", "samples.npz"]


DATA = Path(__file__).parents[1] / "data"


def test_a_model_packs_without_samples(tmp_path):
    bundle = pack(
        DATA / "iris_svc.onnx", name="iris", owner=OWNER, labels=DATA / "label.json", to=tmp_path / "b"
    )
    manifest = bundle.manifest
    assert [(tensor.name, str(tensor)) for tensor in manifest.signature.outputs] == [
        ("label", "int64 [batch]"),
        ("probabilities", "float32 [batch, 3]"),
    ]
    assert manifest.labels["2"] == "virginica"
    assert manifest.expected_from.endswith("(no framework outputs were given)")
    answers = answer(bundle, [[5.1, 3.5, 1.4, 0.2]])
    assert answers["probabilities"][0] == pytest.approx([0.97093, 0.01558, 0.01348], abs=1e-4)
    assert answers["label"].tolist() == [0]


@pytest.mark.slow
def test_expected_outputs_among_the_samples_are_compared(tmp_path):
    rows = X.astype(np.float32)
    bundle = pack(DATA / "iris_rf.onnx", name="iris", samples=rows, owner=OWNER, to=tmp_path / "first")
    answers = answer(bundle, rows.tolist())
    samples = {"float_input": rows, "label": answers["label"], "probabilities": answers["probabilities"]}
    held = pack(DATA / "iris_rf.onnx", name="iris", samples=samples, owner=OWNER, to=tmp_path / "second")
    assert held.manifest.expected_from == "the outputs that were given with the samples"
    wrong = {**samples, "label": np.roll(answers["label"], 60)}
    with pytest.raises(ParityLost, match="output `label`, row 0"):
        pack(DATA / "iris_rf.onnx", name="iris", samples=wrong, owner=OWNER, to=tmp_path / "third")


IRIS = ("setosa", "versicolor", "virginica")
