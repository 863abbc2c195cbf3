"""What a model process runs for a model of MLflow: rows as MLflow takes them, answers as arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from lading.pack.mlflow_code.mlflow_model import MlflowModel, outputs_of


def rows(arrays, **settings):
    model = MlflowModel()
    model.settings = {"columns": {}, "order": [], "texts": [], "unnamed": False, **settings}
    return model.rows(arrays)


def test_columns_become_a_data_frame_in_their_order_with_their_dtypes():
    arrays = {
        "X": np.array([[1.5, 2.5], [3.5, 4.5]]),
        "city": np.array(["서울", "Köln"], dtype=object),
        "age": np.array([[3], [4]]),
    }
    settings = {"form": "frame", "columns": {"X": ["b", "a"]}, "order": ["a", "age", "b", "city"]}
    frame = rows(arrays, **settings)
    assert frame.to_dict("list") == {
        "a": [2.5, 4.5],
        "age": [3, 4],
        "b": [1.5, 3.5],
        "city": ["서울", "Köln"],
    }
    assert frame["age"].to_numpy().dtype == np.int64
    assert list(rows(arrays, **settings, unnamed=True).columns) == [0, 1, 2, 3]


def test_tensors_are_arrays_and_their_texts_are_numpys():
    assert rows({"X": np.ones((2, 3), "f4")}, form="array").dtype == np.float32
    words = np.array(["a", "bc"], dtype=object)
    assert rows({"X": words}, form="array", texts=["X"]).dtype.kind == "U"
    named = rows({"a": words, "b": np.ones(2)}, form="named", texts=["a"])
    assert (named["a"].dtype.kind, named["b"].tolist()) == ("U", [1.0, 1.0])


@pytest.mark.parametrize(
    ("answer", "outputs"),
    [
        (np.array([1, 2]), {"value": [1, 2]}),
        ([0.5, None], {"value": [0.5, np.nan]}),
        (pd.Series(["a", "b"], name="word"), {"value": ["a", "b"]}),
        (pd.DataFrame({"label": ["x", "y"], 0: [1.0, None]}), {"label": ["x", "y"], "0": [1.0, np.nan]}),
        ({"a": [1], "b": [[2.0, 3.0]]}, {"a": [1], "b": [[2.0, 3.0]]}),
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], {"a": [1, 2], "b": ["x", "y"]}),
        (sparse.csr_matrix([[0, 1]]), {"value": [[0, 1]]}),
        (["한", "국"], {"value": ["한", "국"]}),
        (pd.Series([True, False], dtype="boolean"), {"value": [True, False]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_answer_of_any_form_becomes_arrays_by_name(answer, outputs):
    arrays = outputs_of(answer)
    assert arrays.keys() == outputs.keys()
    for name, values in outputs.items():
        np.testing.assert_array_equal(arrays[name], np.array(values, dtype=arrays[name].dtype))
        assert arrays[name].dtype.kind in ("O" if isinstance(values[0], str) else "biuf")


@pytest.mark.parametrize("answer", [[{"a": {}}], [object()], pd.Series([[1], [2]]), [None, "a"]])
def test_an_answer_that_no_tensor_holds_is_refused_with_its_types(answer):
    with pytest.raises(TypeError, match="holds values that no tensor holds: "):
        outputs_of(answer)
