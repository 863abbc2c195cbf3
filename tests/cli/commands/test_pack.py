"""Packing from the command line: what it reports, and how it ends."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

import lading as package
from support.mlflow_folders import mlflow_folder

MODEL = Path(__file__).parents[2] / "data" / "iris_svc.onnx"
FACTS = ("--name", "iris", "--owner", "ml@example.com")


@pytest.mark.slow
def test_golden_rows_that_were_drawn_at_random_are_reported_as_such(lading, tmp_path):
    code, stdout, stderr = lading("pack", MODEL, *FACTS)
    assert (code, stdout) == (0, "iris.bundle\n")
    assert (
        "golden samples: 64 rows drawn at random, because there are no `--samples`; "
        "pass real rows for a meaningful proof\n"
    ) in stderr
    (tmp_path / "rows.json").write_text("[[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]")
    code, _, stderr = lading("pack", MODEL, *FACTS, "--samples", "rows.json", "-o", "second")
    assert code == 0
    assert "golden samples: 2 rows, answered by onnxruntime" in stderr


def test_the_purpose_is_derived_from_the_model_by_default(lading):
    assert lading("pack", MODEL, *FACTS)[0] == 0
    manifest = json.loads(lading("inspect", "iris.bundle", "--json")[1])["manifest"]
    assert manifest["purpose"] == "classification"


@pytest.mark.slow
def test_an_existing_bundle_is_not_overwritten(lading):
    assert lading("pack", MODEL, *FACTS)[0] == 0
    code, _, stderr = lading("pack", MODEL, *FACTS)
    assert code == 1
    assert "hint: `--overwrite` (`overwrite=True` in Python) replaces a bundle" in stderr
    assert lading("pack", MODEL, *FACTS, "--overwrite")[0] == 0


def test_a_missing_module_and_samples_of_an_unknown_kind_are_usage_errors(lading, tmp_path):
    code, _, stderr = lading("pack", "nowhere_to_be_found:model", *FACTS)
    assert code == 2
    assert "hint: run it in the folder that holds `nowhere_to_be_found.py`" in stderr
    (tmp_path / "rows.xlsx").write_text("")
    code, _, stderr = lading("pack", MODEL, *FACTS, "--samples", "rows.xlsx")
    assert code == 2
    assert "or `.json`, found `.xlsx`" in stderr


def test_the_refusal_of_a_model_without_samples_names_the_flag(lading, tmp_path):
    (tmp_path / "train.py").write_text(
        "from sklearn.linear_model import LinearRegression\n"
        "model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])\n"
    )
    code, _, stderr = lading("pack", "train:model", *FACTS)
    assert code == 1
    assert "hint: pass `--samples FILE` (`samples=X_test` in Python)" in stderr
    call = "lading pack train:model --name iris --owner ml@example.com --samples FILE"
    assert stderr.endswith(f"that is `{call}`\n")


def test_a_call_that_lacks_something_is_answered_with_one_that_does_not(lading, tmp_path):
    code, _, stderr = lading("pack", MODEL, "--description", "two words")
    assert code == 2
    assert stderr.startswith("error: missing option `--name`\nhint: such as `")
    call = shlex.split(stderr.split("`")[3])
    assert call[:3] == ["lading", "pack", str(MODEL)]
    assert call[3:] == ["--description", "two words", "--name", "iris-svc", "--owner", "ml@example.com"]
    assert lading(*call[1:])[0] == 0
    code, _, stderr = lading("pack", "--owner", "me")
    assert stderr.endswith("such as `lading pack train:model --owner me --name my-model`\n")


@pytest.mark.slow
def test_a_folder_of_mlflow_brings_its_samples_and_is_named_by_its_scheme(lading, tmp_path):
    folder = mlflow_folder(tmp_path / "folder", run_id="5c" * 16)
    code, _, stderr = lading("pack", "folder", *FACTS)
    assert code == 2
    assert "found a folder of MLflow\nhint: a model of MLflow is named `mlflow:folder`" in stderr
    code, stdout, stderr = lading("pack", f"mlflow:{folder.name}", *FACTS)
    assert (code, stdout) == (0, "iris.bundle\n")
    assert "note: `mlflow:folder`: the proof is made of its input example" in stderr
    assert "drawn at random" not in stderr
    assert re.search("logged by +MLflow run 5c5c", lading("inspect", "iris.bundle")[1])


@pytest.mark.slow
def test_a_hint_that_names_a_keyword_of_python_names_the_flag_too():
    source = Path(package.__file__).parent
    hints = [
        (path.name, ast.unparse(hint))
        for part in ("pack", "convert")
        for path in (source / part).rglob("*.py")
        for hint in hints_in(ast.parse(path.read_text()))
    ]
    assert len(hints) > 10
    keyword = re.compile(r"\b(samples|labels|dtype|overwrite|to|tolerance|golden|metrics)=")
    assert [(name, text) for name, text in hints if keyword.search(text) and not re.search(r"`-", text)] == []


def hints_in(tree):
    for node in ast.walk(tree):
        named = node.arg if isinstance(node, ast.keyword) else None
        if isinstance(node, ast.Assign):
            named = getattr(node.targets[0], "id", None)
        if named == "hint":
            yield node.value


@pytest.mark.slow
def test_reference_data_and_their_labels_are_measured(lading, tmp_path):
    (tmp_path / "fitted.py").write_text(
        "import numpy as np\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "X = np.random.default_rng(0).normal(size=(60, 2))\n"
        "model = LogisticRegression().fit(X, X[:, 0] > 0)\n"
    )
    rows = "".join(f"{at / 7 - 4},{at % 5},{at / 7 - 4 > 0}\n" for at in range(56))
    (tmp_path / "train.csv").write_text(f"a,b,y\n{rows}")
    (tmp_path / "rows.csv").write_text("a,b\n" + "1,2\n3,4\n" * 8)
    options = ("--samples", "rows.csv", "--reference", "train.csv", "--reference-labels", "y")
    code, _, stderr = lading("pack", "fitted:model", *FACTS, *options)
    assert code == 0, stderr
    assert "profile: 56 rows of reference data, accuracy 0." in stderr
    _, stdout, _ = lading("inspect", "iris.bundle")
    assert "56 rows of reference data" in stdout
    document = json.loads(lading("inspect", "iris.bundle", "--json")[1])
    assert document["profile"]["labelled"] == 56
    code, _, stderr = lading("pack", "fitted:model", *FACTS, *options, "--slice", "b", "-o", "sliced")
    assert code == 0
    assert "slices: b" in stderr
    assert json.loads(lading("inspect", "sliced", "--json")[1])["manifest"]["slices"] == ["b"]
    code, _, stderr = lading("pack", "fitted:model", *FACTS, *options[:2], "--no-profile", "-o", "second")
    assert code == 0
    assert "profile" not in stderr
    assert "profile" not in json.loads(lading("inspect", "second", "--json")[1])
    code, stdout, stderr = lading("pack", "fitted:model", *FACTS, *options[:5], "z", "-o", "third")
    assert code == 2
    assert "a column of reference `train.csv`: `a`, `b`, `y`, found `z`" in stderr


@pytest.mark.slow
def test_a_difference_of_profiles_is_shown(lading, tmp_path):
    rows = [[5.1 + at % 7 / 10, 3.5, 1.4 + at / 40, 0.2] for at in range(100)]
    for name, times in (("first", 1), ("second", 3)):
        (tmp_path / f"{name}.json").write_text(json.dumps([[x * times for x in row] for row in rows]))
        options = ("--samples", "first.json", "--reference", f"{name}.json", "-o", name)
        assert lading("pack", MODEL, *FACTS, *options)[0] == 0
    _, stdout, stderr = lading("diff", "first", "second")
    assert re.search(r"input `\w+\[0\]`, 100 % of rows", stdout)
    assert "state the same; they were measured on other data" in stderr
    document = json.loads(lading("diff", "first", "second", "--json")[1])
    assert document["columns"][0]["shift"] == 1.0
