"""Samples in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lading.convert.table import make_table
from lading.errors import SamplesRefused
from lading.pack import pack
from support.sklearn_models import OWNER, mixed_pipeline, passengers


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (pd.DataFrame({"day": pd.to_datetime(["2024-01-01"])}), "found `datetime64"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "expected each column once"),
        (np.array([[1, "a"], [2, "b"]], dtype=object), "an array that mixes numbers and texts"),
        (np.array([["a", None]], dtype=object), "found a missing value in row 0"),
        (3.0, "found a single value or none"),
        ([], "expected at least one row, found none"),
    ],
)
def test_samples_that_no_tensor_can_have_are_refused(samples, sentence):
    with pytest.raises(SamplesRefused) as refusal:
        make_table(samples, "SVC")
    assert sentence in refusal.value.message


def test_a_frame_keeps_its_dtypes():
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, 2], dtype="int32"),
            "kind": pd.Categorical(["a", "b"]),
            "flag": [True, False],
            "gap": [1.5, None],
        }
    )
    again = make_table(frame, "SVC").framework_rows()
    pd.testing.assert_frame_equal(again, frame)


def test_missing_texts_are_refused_by_column_and_row(tmp_path):
    frame, target = passengers()
    model = mixed_pipeline(frame, target)
    frame.loc[7, "port"] = None
    with pytest.raises(
        SamplesRefused, match=r"column `port`: expected texts only, found a missing value in row 7"
    ):
        pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")


class PolarsSeries:
    """Stands for a series of polars, which is no dependency of the tests: all that is asked of it."""

    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return self.values


class PolarsFrame:
    """Stands for a data frame of polars 2: numpy takes it for one array of objects."""

    def __init__(self, frame):
        self.frame = frame
        self.columns = list(frame.columns)

    def __getitem__(self, name):
        return PolarsSeries(self.frame[name].to_numpy())

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.frame.to_numpy(dtype=object))

    def to_numpy(self):
        return np.asarray(self)

    def to_dicts(self):
        return self.frame.to_dict(orient="records")


@pytest.mark.slow
def test_a_mixed_frame_of_polars_packs_like_one_of_pandas(tmp_path):
    frame, target = passengers()
    model = mixed_pipeline(frame, target)
    bundles = [
        pack(model, name="m", samples=samples, owner=OWNER, to=tmp_path / name)
        for name, samples in (("pandas", frame), ("polars", PolarsFrame(frame)))
    ]
    assert bundles[0].manifest.signature == bundles[1].manifest.signature
    assert bundles[0].manifest.signature.columns == ("age", "fare", "sex", "port")


def test_columns_that_are_not_used_may_hold_anything():
    frame = pd.DataFrame({"a": [1.0, 2.0], "when": pd.Timestamp("2026-01-01"), "b": ["x", "y"]})
    assert list(make_table(frame, "Model", ["a", "b"]).arrays) == ["a", "b"]
    with pytest.raises(SamplesRefused, match="`when`"):
        make_table(frame, "Model")
