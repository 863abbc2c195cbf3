"""Rows from files of every form, and rows that are refused."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lading.cli.ui.input_rows import read_rows
from lading.signature import Signature, Tensor
from support.bundles import linear_rows


def predictions(stdout):
    return np.array([json.loads(line) for line in stdout.splitlines()])


FORMS = (
    *("rows.json", "body.json", "objects.json", "header.csv", "bare.csv", "index.csv"),
    *("rows.parquet", "x.npz", "any.npz", "x.npy"),
)


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_read_from_every_form(lading, bundle, tmp_path, form):
    file = tmp_path / form
    write_rows(file, linear_rows(rows=16))
    code, stdout, stderr = lading("predict", bundle.path, "--input", file)
    assert code == 0, stderr
    expected = bundle.samples().outputs["probabilities"]
    np.testing.assert_allclose(predictions(stdout), expected, rtol=1e-5)


def write_rows(file, rows):
    columns = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    lists = rows.tolist()
    match file.name:
        case "rows.json":
            file.write_text(json.dumps(lists))
        case "body.json":
            file.write_text(json.dumps({"data": lists}))
        case "objects.json":
            file.write_text(json.dumps([dict(zip(columns, row, strict=True)) for row in lists]))
        case "header.csv":  # Columns in another order, as in exports; a byte order mark, as Excel writes it.
            lines = [",".join(reversed(columns)), *(",".join(map(str, reversed(row))) for row in lists)]
            file.write_text("\n".join(lines), encoding="utf-8-sig")
        case "bare.csv":
            np.savetxt(file, rows, delimiter=",", fmt="%.9g")
        case "index.csv":  # As pandas writes a frame with its index, and with the column to predict.
            pd.DataFrame(rows, columns=columns).assign(species="x").to_csv(file)
        case "rows.parquet":
            pd.DataFrame(rows, columns=columns).assign(species="x").to_parquet(file)
        case "x.npy":
            np.save(file, rows)
        case "x.npz":
            np.savez(file, X=rows)
        case "any.npz":
            np.savez(file, rows)


@pytest.mark.parametrize(
    ("name", "text", "code", "sentence"),
    [
        ("a.json", "[[1, 2, 3]]", 1, "found 3 values at `$.data[0]`"),
        ("a.json", "[[1, 2, 3, ", 1, "expected JSON"),
        ("a.json", '[["a", 2, 3, 4]]', 1, "found a string at `$.data[0][0]`"),
        ("a.csv", "", 1, "expected at least one row"),
        ("a.csv", "sepal_length,sepal_width\n1,2\n", 1, "petal_length"),
        ("a.csv", "1,2,3,4\n1,x,3,4\n", 1, "found `x` in line 2, column `sepal_width`"),
        ("a.csv", "1,2,3,4\n1,,3,4\n", 1, "found an empty cell in line 2, column `sepal_width`"),
        ("a.csv", "1,2,3,4\n1_000,2,3,4\n", 1, "found `1_000` in line 2, column `sepal_length`"),
        ("a.npz", "no zip", 1, "expected .npz or .npy arrays without pickle, found another kind"),
        ("a.parquet", "no parquet", 1, "expected a readable .parquet file"),
        ("a.txt", "1", 2, "expected a `.json`, `.csv`, `.npz`, `.npy` or `.parquet` file"),
    ],
)
def test_invalid_rows_are_refused(lading, bundle, tmp_path, name, text, code, sentence):
    (tmp_path / name).write_text(text)
    actual, stdout, stderr = lading("predict", bundle.path, "--input", tmp_path / name)
    assert (actual, stdout) == (code, ""), stderr
    assert sentence in stderr


def test_columns_that_are_left_out_are_named(lading, bundle, tmp_path):
    for form in ("index.csv", "rows.parquet"):
        write_rows(tmp_path / form, linear_rows(rows=2))
        _, _, stderr = lading("predict", bundle.path, "--input", tmp_path / form)
        assert "no input of the model, left out: " in stderr
        assert "`species`" in stderr


def test_missing_values_and_texts_of_a_parquet_reach_the_model(tmp_path):
    frame = pd.DataFrame({"city": ["a", "b"], "income": [1.5, None], "id": [1, 2]})
    frame.to_parquet(tmp_path / "a.parquet")
    income = Tensor(name="income", dtype="float32", shape=("batch",), allows_nan=True)
    city = Tensor(name="city", dtype="string", shape=("batch",))
    score = Tensor(name="score", dtype="float32", shape=("batch",))
    signature = Signature(inputs=(income, city), outputs=(score,))
    rows = read_rows(str(tmp_path / "a.parquet"), lambda: signature)
    assert rows.data == [{"city": "a", "income": 1.5}, {"city": "b", "income": None}]
    cast = signature.cast_rows(rows.data)
    assert cast["city"].tolist() == ["a", "b"]
    assert np.isnan(cast["income"][1])


def test_a_missing_file_is_reported_before_its_extension(lading, bundle, tmp_path):
    code, _, stderr = lading("predict", bundle.path, "--input", tmp_path / "nofile")
    assert code == 2
    assert f"file `{tmp_path / 'nofile'}` does not exist" in stderr
    (tmp_path / "nofile").write_text("[[1, 2, 3, 4]]")
    code, _, stderr = lading("predict", bundle.path, "--input", tmp_path / "nofile")
    assert code == 2
    assert "or `-`, found no extension" in stderr


@pytest.mark.parametrize("form", ["rows.json", "bare.csv", "x.npz", "x.npy"])
def test_the_form_of_stdin_is_recognised_by_its_content(bundle, tmp_path, monkeypatch, form):
    rows = linear_rows(rows=2)
    write_rows(tmp_path / form, rows)
    content = io.BytesIO((tmp_path / form).read_bytes())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=content))
    read = read_rows("-", lambda: bundle.manifest.signature)
    actual = read.data if read.arrays is None else read.arrays["X"]
    np.testing.assert_allclose(actual, rows, rtol=1e-6)
