"""Samples from files, and models by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from lading.errors import (
    ConverterFailed,
    InvalidSetting,
)
from lading.pack import pack
from lading.pack.sources import read_samples
from support.sklearn_models import OWNER, X, Y, answer


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["npz", "npy", "csv", "parquet", "json"])
def test_samples_are_read_from_files(tmp_path, suffix):
    file = tmp_path / f"samples.{suffix}"
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    {
        "npz": lambda: np.savez(file, X=X),
        "npy": lambda: np.save(file, X),
        "csv": lambda: frame.to_csv(file, index=False),
        "parquet": lambda: frame.to_parquet(file),
        "json": lambda: file.write_text(frame.to_json(orient="records")),
    }[suffix]()
    model = LinearRegression().fit(X, Y)
    bundle = pack(model, name="m", samples=file, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.columns == (
        ("a", "b", "c", "d") if suffix in ("csv", "parquet", "json") else ()
    )


@pytest.mark.parametrize("body", ["[[1, 2.5], [3, null]]", '{"data": [[1, 2.5], [3, null]]}'])
def test_samples_in_json_are_rows_like_those_of_requests(tmp_path, body):
    (tmp_path / "rows.json").write_text(body)
    np.testing.assert_array_equal(read_samples(tmp_path / "rows.json"), [[1, 2.5], [3, np.nan]])
    (tmp_path / "rows.json").write_text(body.replace("null", '"x"'))
    assert read_samples(str(tmp_path / "rows.json")) == [[1, 2.5], [3, "x"]]


def test_a_model_is_loaded_as_module_and_object(tmp_path, monkeypatch):
    (tmp_path / "trained_here.py").write_text(
        "from sklearn.linear_model import LinearRegression\n"
        "model = LinearRegression().fit([[0.0], [1.0]], [0, 2])\n"
    )
    monkeypatch.chdir(tmp_path)
    bundle = pack("trained_here:model", name="m", samples=[[0.5], [0.7]], owner=OWNER)
    assert bundle.path == Path("m.bundle")
    assert answer(bundle, [[3.0]])["value"] == pytest.approx([6.0])


def test_a_failing_module_is_a_conversion_error_and_a_missing_one_wrong_use(tmp_path, monkeypatch):
    (tmp_path / "failing_here.py").write_text("import no_module_at_all\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConverterFailed, match="expected a module that loads, found ModuleNotFoundError"):
        pack("failing_here:model", name="m", samples=X, owner=OWNER)
    with pytest.raises(InvalidSetting) as refusal:
        pack("not_here.train:model", name="m", samples=X, owner=OWNER)
    assert refusal.value.hint == "run it in the folder that holds `not_here.py`"
