"""Reference data as `pack` takes it: its forms, its labels, and the rows that a signature refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lading.convert.table import make_table
from lading.errors import InvalidSetting, SamplesRefused
from lading.pack import reference as reference_module
from lading.pack.reference import ReferenceRows, hits, read_reference, reference_table
from lading.signature import Signature, Tensor

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0], "y": ["no", "yes", "no"]})
LABEL = Signature(
    (Tensor(name="X", dtype="float32", shape=("batch", 2)),),
    (Tensor(name="label", dtype="int64", shape=("batch",)),),
)


def table(data):
    return make_table(data, "m")


@pytest.mark.parametrize("form", ["frame", "mapping", "csv", "parquet", "column"])
def test_labels_are_a_column_of_the_reference_or_a_file(tmp_path, form):
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    FRAME.to_parquet(tmp_path / "rows.parquet")
    FRAME[["y"]].to_csv(tmp_path / "labels.csv", index=False)
    data, labels = {
        "frame": (FRAME, "y"),
        "mapping": ({name: FRAME[name].to_numpy() for name in FRAME}, "y"),
        "csv": (str(tmp_path / "rows.csv"), "y"),
        "parquet": (tmp_path / "rows.parquet", "y"),
        "column": (FRAME[["a", "b"]], str(tmp_path / "labels.csv")),
    }[form]
    reference = read_reference(data, labels, wanted=True)
    assert reference.labels.tolist() == ["no", "yes", "no"]
    assert list(reference.data) == ["a", "b"]


def test_labels_are_arrays_series_and_lists():
    for labels in (np.array([0, 1, 0]), pd.Series([0, 1, 0]), [0, 1, 0], FRAME[["y"]], [[0], [1], [0]]):
        reference = read_reference(FRAME[["a", "b"]], labels, wanted=True)
        assert reference.labels.shape == (3,)
    with pytest.raises(InvalidSetting, match=r"one label a row.*shape \[3, 2\]"):
        read_reference(FRAME, FRAME[["a", "b"]], wanted=True)


def test_labels_without_their_rows_are_refused():
    with pytest.raises(InvalidSetting, match="found no `reference`"):
        read_reference(None, [1], wanted=True)
    with pytest.raises(InvalidSetting, match="a column of `reference`: `a`, `b`, `y`, found `z`"):
        read_reference(FRAME, "z", wanted=True)
    with pytest.raises(InvalidSetting, match="`profile`: expected true with `reference`"):
        read_reference(FRAME, None, wanted=False)
    reference = read_reference(FRAME[["a", "b"]], [0, 1], wanted=True)
    with pytest.raises(InvalidSetting, match="expected 3 labels, one a row, found 2"):
        reference_table(reference, table)


def test_an_error_in_reference_data_names_them():
    reference = read_reference(pd.DataFrame({"a": ["x", None]}), None, wanted=True)
    with pytest.raises(SamplesRefused, match="reference of `m`, column `a`"):
        reference_table(reference, table)


def signature(dtype="float32", **more):
    return Signature((Tensor(name="X", dtype=dtype, shape=("batch", 2), **more),), ())


def accepted(data, of):
    rows = ReferenceRows(table(data), of)
    index = [at for index, _ in rows.parts() for at in index.tolist()]
    return index, rows.refused


def test_rows_that_a_signature_refuses_are_counted_and_the_first_is_named():
    data = np.ones((1000, 2))
    data[[7, 300, 999], 1] = np.nan
    index, refused = accepted(data, signature())
    assert index == [at for at in range(1000) if at not in (7, 300, 999)]
    assert refused.count == 3
    assert refused.first == "row 7, input `X`: NaN"
    assert accepted(data, signature(allows_nan=True))[0] == list(range(1000))
    index, refused = accepted(data, signature(allows_nan=True, nan_columns=(0,)))
    assert refused.count == 3


def test_values_that_a_dtype_does_not_hold_are_refused_row_by_row():
    data = np.arange(20.0).reshape(10, 2)
    data[3, 0] = 0.5
    data[6, 0] = np.nan
    index, refused = accepted(data, signature("int64"))
    assert index == [0, 1, 2, 4, 5, 7, 8, 9]
    assert refused.count == 2
    assert refused.first == "row 6, input `X`: nan"


def test_a_text_that_no_model_can_read_is_refused_alone():
    of = Signature((Tensor(name="t", dtype="string", shape=("batch",)),), ())
    index, refused = accepted({"t": np.array(["a", "b\0", "c"], object)}, of)
    assert index == [0, 2]
    assert "row 1, input `t`: a string with a NUL" in refused.first


def test_rows_come_in_parts_and_every_so_many(monkeypatch):
    monkeypatch.setattr(reference_module, "CHUNK_VALUES", 20)
    data = np.arange(200.0).reshape(100, 2)
    rows = ReferenceRows(table(data), signature())
    parts = list(rows.parts(3))
    assert max(len(index) for index, _ in parts) == 10
    assert [at for index, _ in parts for at in index.tolist()] == list(range(0, 100, 3))
    assert all((arrays["X"] == data[index]).all() for index, arrays in parts)


@pytest.mark.parametrize(
    "labels", [[0, 1, 1], ["0", "1", "1"], ["no", "yes", "yes"], [0.0, 1.0, 1.0], [False, True, True]]
)
def test_labels_are_compared_by_name(labels):
    outputs = {"label": np.array([0, 1, 0])}
    values = np.array(labels)
    names = {"0": "no", "1": "yes"}
    if values.dtype == bool:
        outputs = {"label": np.array([False, True, False])}
        names = {}
    assert hits(LABEL, names, outputs, values).tolist() == [1, 1, 0]


def test_rows_without_a_label_are_neither_right_nor_wrong():
    outputs = {"label": np.array([0, 1, 0])}
    assert hits(LABEL, {}, outputs, np.array([0.0, np.nan, 1.0])).tolist() == [1, -1, 0]
    assert hits(LABEL, {}, outputs, np.array(["0", None, ""], object)).tolist() == [1, -1, -1]


def test_scores_by_class_name_the_class():
    of = Signature(
        LABEL.inputs,
        (Tensor(name="scores", dtype="float32", shape=("batch", 2), columns=("no", "yes")),),
    )
    scores = {"scores": np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)}
    assert hits(of, {}, scores, np.array(["no", "no"])).tolist() == [1, 0]


def test_a_model_without_classes_has_no_labels():
    of = Signature(LABEL.inputs, (Tensor(name="value", dtype="float32", shape=("batch",)),))
    with pytest.raises(
        InvalidSetting, match="a model that names one class for each row, found outputs `value`"
    ):
        hits(of, {}, {"value": np.zeros(2, np.float32)}, np.zeros(2))
