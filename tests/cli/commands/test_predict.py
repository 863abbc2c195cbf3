"""Predicting in this process, from rows in every form."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.bundles import linear_rows


@pytest.fixture
def expected(bundle):
    return bundle.samples().outputs["probabilities"]


def rows_out(out):
    return np.array([json.loads(line) for line in out.splitlines()])


def test_golden_samples_are_predicted_line_by_line(lading, bundle, expected):
    code, out, _ = lading("predict", bundle.path, "--sample")
    assert code == 0
    np.testing.assert_allclose(rows_out(out), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "form", ["rows.json", "body.json", "objects.json", "header.csv", "bare.csv", "x.npz", "any.npz"]
)
def test_rows_are_read_from_every_form(lading, bundle, expected, tmp_path, form):
    file = tmp_path / form
    write_rows(file, linear_rows(rows=16))
    code, out, said = lading("predict", bundle.path, "--input", file)
    assert code == 0, said
    np.testing.assert_allclose(rows_out(out), expected, rtol=1e-5)


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
        case "header.csv":  # in another order, as exports are; with a byte order mark, as Excel writes
            lines = [",".join(reversed(columns)), *(",".join(map(str, reversed(row))) for row in lists)]
            file.write_text("\n".join(lines), encoding="utf-8-sig")
        case "bare.csv":
            np.savetxt(file, rows, delimiter=",", fmt="%.9g")
        case "x.npz":
            np.savez(file, X=rows)
        case "any.npz":
            np.savez(file, rows)


def test_labels_and_named_outputs_are_given(lading, bundle):
    _, out, _ = lading("predict", bundle.path, "--sample", "--label")
    assert {json.loads(line) for line in out.splitlines()} <= {"setosa", "versicolor", "virginica"}
    _, out, _ = lading("predict", bundle.path, "--sample", "--output", "label", "--output", "probabilities")
    assert list(json.loads(out.splitlines()[0])) == ["label", "probabilities"]
    said = json.loads(lading("predict", bundle.path, "--sample", "--json")[1])
    assert (said["digest"], len(said["prediction"])) == (bundle.digest, 16)


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
        ("a.npz", "no zip", 1, "expected .npz arrays"),
        ("a.txt", "1", 2, "expected a `.json`, `.csv` or `.npz` file"),
    ],
)
def test_rows_that_do_not_fit_are_refused(lading, bundle, tmp_path, name, text, code, sentence):
    (tmp_path / name).write_text(text)
    found, out, said = lading("predict", bundle.path, "--input", tmp_path / name)
    assert (found, out) == (code, ""), said
    assert sentence in said


def test_a_file_that_is_not_there_is_said_before_its_ending(lading, bundle, tmp_path):
    code, _, said = lading("predict", bundle.path, "--input", tmp_path / "nofile")
    assert code == 2
    assert f"file `{tmp_path / 'nofile'}` does not exist" in said
    (tmp_path / "nofile").write_text("[[1, 2, 3, 4]]")
    code, _, said = lading("predict", bundle.path, "--input", tmp_path / "nofile")
    assert code == 2
    assert "or `-`, found no extension" in said


def test_an_unknown_output_is_refused(lading, bundle):
    code, _, said = lading("predict", bundle.path, "--sample", "--output", "labels")
    assert code == 1
    assert "expected `label`, `probabilities`, found `labels`" in said


def test_a_server_that_is_not_there_ends_with_4(lading, tmp_path):
    (tmp_path / "rows.json").write_text("[[1]]")
    code, out, said = lading("predict", "http://127.0.0.1:9", "--input", tmp_path / "rows.json")
    assert (code, out) == (4, "")
    assert "cannot be reached" in said
