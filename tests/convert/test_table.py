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
