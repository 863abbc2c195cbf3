"""Rows for a model of MLflow, as its signature has them, and that signature beside the bundle's."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from lading.errors import ConverterFailed, SamplesRefused
from lading.pack.mlflow_folder import MlflowFolder
from lading.pack.mlflow_samples import folder_samples
from lading.pack.mlflow_signature import MlflowSignature, compare_outputs, read_signature
from lading.signature import Signature, Tensor
from support.mlflow_folders import EXAMPLE, signature, tensor

PEOPLE = pd.DataFrame({"age": [31, 64], "city": ["서울", "Köln"], "score": [1.5, np.nan]})
OF_PEOPLE = [
    {"type": "long", "name": "age", "required": True},
    {"type": "string", "name": "city"},
    {"type": "double", "name": "score", "required": False},
]
FRAME = {**EXAMPLE, "type": "dataframe", "pandas_orient": "split"}


def rows(tmp_path, inputs, samples=None, *, info=None, example=None, notes=None):
    """Return the rows of a folder with these inputs in its signature."""
    if example is not None:
        (tmp_path / "input_example.json").write_text(json.dumps(example))
    stated = {} if info is None else {"saved_input_example_info": info}
    folder = MlflowFolder(tmp_path, "mlflow:m", {}, stated)
    read = read_signature(None if inputs is None else signature(inputs), folder.where)
    return folder_samples(folder, samples, read, (notes if notes is not None else []).append)


def test_columns_come_in_the_order_and_the_dtypes_of_the_signature(tmp_path):
    notes: list[str] = []
    frame = PEOPLE.assign(age=PEOPLE["age"].astype("float64"), note="x")[["note", "score", "city", "age"]]
    read = rows(tmp_path, OF_PEOPLE, frame, notes=notes)
    assert list(read.columns) == ["age", "city", "score"]
    assert [str(read[name].to_numpy().dtype) for name in ("age", "score")] == ["int64", "float64"]
    assert notes == [
        "samples of `mlflow:m`: MLflow's signature does not have the columns `note`, which are left out"
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"age": [1.5, 2.0]}, "column `age`: expected `age: long`, as MLflow's signature says, found values"),
        (
            {"age": [1.0, None]},
            "column `age`: expected `age: long`, as MLflow's signature says, found a missing",
        ),
        (
            {"age": ["a", "b"]},
            "column `age`: expected `age: long`, as MLflow's signature says, found `object`",
        ),
        (
            {"age": [True, False]},
            "column `age`: expected `age: long`, as MLflow's signature says, found `bool`",
        ),
        (
            {"city": [1, 2]},
            "column `city`: expected `city: string`, as MLflow's signature says, found `int64`",
        ),
        (
            {"score": pd.to_datetime(["2020-01-01", "2021-01-01"])},
            "column `score`: expected `score: double`, as MLflow's signature says, found `datetime64",
        ),
    ],
)
def test_values_of_another_kind_than_the_signature_says_are_refused(tmp_path, changes, sentence):
    with pytest.raises(SamplesRefused) as error:
        rows(tmp_path, OF_PEOPLE, PEOPLE.assign(**changes))
    assert sentence in str(error.value)


def test_a_column_that_is_required_and_missing_is_refused_with_both_lists(tmp_path):
    with pytest.raises(SamplesRefused) as error:
        rows(tmp_path, OF_PEOPLE, PEOPLE[["age", "score"]])
    assert (
        "the columns of MLflow's signature: `age`, `city`, `score`, found `age`, `score`, without `city`"
        in str(error.value)
    )
    assert "set_signature" in str(error.value)
    notes: list[str] = []
    assert list(rows(tmp_path, OF_PEOPLE, PEOPLE[["age", "city"]], notes=notes).columns) == ["age", "city"]
    assert "the optional column `score` is not among them" in notes[0]


def test_an_example_of_a_data_frame_is_read_as_mlflow_writes_it(tmp_path):
    example = {"columns": ["age", "city", "score"], "data": [[31, "서울", 1.5], [64, "Köln", None]]}
    read = rows(tmp_path, OF_PEOPLE, info=FRAME, example=example)
    assert read["city"].tolist() == ["서울", "Köln"]
    assert read["age"].tolist() == [31, 64]
    assert np.isnan(read["score"][1])
    inner = {"input": example, "params": {"temperature": 1}}
    again = rows(tmp_path, OF_PEOPLE, info={**FRAME, "example_params": "true"}, example=inner)
    assert again["age"].tolist() == [31, 64]


def test_other_examples_become_rows_as_well(tmp_path):
    named = {**EXAMPLE, "type": "json_object"}
    records = [{"age": 31, "city": "서울"}, {"age": 64, "city": "Köln"}]
    assert rows(tmp_path, OF_PEOPLE, info=named, example=records)["city"].tolist() == ["서울", "Köln"]
    single = rows(tmp_path, OF_PEOPLE, info=named, example={"age": 31, "city": "서울"})
    assert single["age"].tolist() == [31]
    texts = rows(tmp_path, [{"type": "string"}], info=named, example=["a", "b"])
    assert texts["0"].tolist() == ["a", "b"]
    arrays = rows(tmp_path, None, info=EXAMPLE, example={"a": [[1.0, 2.0]], "b": [3]})
    assert arrays["a"].shape == (1, 2)


def test_tensors_get_the_dtype_and_need_the_shape_of_the_signature(tmp_path):
    read = rows(tmp_path, [tensor("float32", -1, 2)], info=EXAMPLE, example=[[1, 2], [3, 4]])
    assert (read.dtype, read.shape) == (np.float32, (2, 2))
    with pytest.raises(
        SamplesRefused, match=r"float32 \[-1, 3\]`, as MLflow's signature says, found shape `\[2, 2\]`"
    ):
        rows(tmp_path, [tensor("float32", -1, 3)], np.ones((2, 2)))
    with pytest.raises(SamplesRefused, match="found values that it does not hold"):
        rows(tmp_path, [tensor("int32", -1)], np.array([0.5]))
    named = [tensor("float32", -1, 2, name="a"), tensor("str", -1, name="b")]
    both = rows(tmp_path, named, {"a": np.ones((2, 2)), "b": np.array(["x", "y"])})
    assert (both["a"].dtype, both["b"].tolist()) == (np.float32, ["x", "y"])
    with pytest.raises(SamplesRefused, match=r"expected the tensors of MLflow's signature: .* found `a`"):
        rows(tmp_path, named, {"a": np.ones((2, 2))})


def test_what_no_tensor_holds_is_refused_by_its_type(tmp_path):
    with pytest.raises(ConverterFailed, match="found `day: datetime` in MLflow's signature"):
        rows(tmp_path, [{"type": "datetime", "name": "day"}], PEOPLE)
    with pytest.raises(SamplesRefused, match="found `sparse_matrix_csr`") as error:
        rows(tmp_path, None, info={**EXAMPLE, "type": "sparse_matrix_csr"}, example={})
    assert "dense" in str(error.value)


def test_without_rows_the_call_that_would_work_is_shown(tmp_path):
    with pytest.raises(SamplesRefused, match="found none, and no input example") as error:
        rows(tmp_path, OF_PEOPLE)
    assert "`lading pack mlflow:m --samples rows.csv …`" in str(error.value)


@pytest.mark.parametrize(
    "stated", ["x", {"inputs": "["}, {"inputs": "{}"}, {"inputs": [tensor("float32", "a")]}]
)
def test_a_signature_that_is_none_is_refused(stated):
    with pytest.raises(ConverterFailed, match="`signature` of `MLmodel`"):
        read_signature(stated, "`mlflow:m`")


LABELS = Signature(
    (Tensor(name="X", dtype="float32", shape=("batch", 3)),),
    (
        Tensor(name="label", dtype="string", shape=("batch",)),
        Tensor(name="probabilities", dtype="float32", shape=("batch", 2)),
    ),
)


def compared(*outputs):
    notes: list[str] = []
    compare_outputs(read_signature(signature([], list(outputs)), "`m`"), "`m`", notes.append, LABELS)
    return notes


def test_an_output_of_the_bundle_is_of_the_kind_that_mlflow_says():
    assert compared(tensor("str", -1)) == []
    assert compared(tensor("float64", -1, 2), {"type": "string"}) == []
    assert compared(tensor("str", -1, 1)) == []
    with pytest.raises(ConverterFailed) as error:
        compared(tensor("bool", -1))
    listed = "`label: string [batch]`, `probabilities: float32 [batch, 2]`"
    assert f"expected `bool [-1]`, as MLflow's signature says, found {listed}" in str(error.value)


def test_an_output_of_another_shape_or_of_a_type_without_tensors_is_a_note():
    assert (
        "answers `float64 [-1, 5]`, the bundle answers `label: string [batch]`"
        in compared(tensor("float64", -1, 5))[0]
    )
    assert "answers `out: object`, which no tensor holds" in compared({"type": {"x": 1}, "name": "out"})[0]
    notes: list[str] = []
    compare_outputs(MlflowSignature(), "`m`", notes.append, LABELS)
    assert notes == []
