"""Packing: the facts of a bundle, the same bytes every time, and refusals with their sentences."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from lading.errors import (
    ConverterFailed,
    ConverterMissing,
    DestinationExists,
    InvalidName,
    InvalidSetting,
    ModelInvalid,
    ParityLost,
    SamplesRefused,
)
from lading.pack import converted_bundle, pack
from support.sklearn_models import OWNER, X, Y

IRIS = ("setosa", "versicolor", "virginica")


@pytest.mark.slow
def test_a_bundle_describes_its_model(tmp_path):
    model = make_pipeline(StandardScaler(), SVC()).fit(X, Y)
    facts = {"name": "iris", "owner": OWNER, "labels": IRIS, "metrics": {"accuracy": 0.97}}
    steps = []
    bundle = pack(model, samples=X, **facts, to=tmp_path / "b", on_step=steps.append)
    assert steps == [
        "asking Pipeline(StandardScaler, SVC) itself",
        "converting, and comparing answers",
        "writing the bundle, and replaying its golden samples",
        "measuring the profile",
    ]
    manifest = bundle.manifest
    assert [str(tensor) for tensor in manifest.signature.inputs] == ["float32 [batch, 4]"]
    assert [(tensor.name, str(tensor)) for tensor in manifest.signature.outputs] == [
        ("label", "int64 [batch]"),
        ("scores", "float32 [batch, 3]"),
    ]
    assert manifest.signature.outputs[1].columns == ("0", "1", "2")
    assert manifest.labels == {"0": "setosa", "1": "versicolor", "2": "virginica"}
    assert manifest.purpose == "classification"
    assert manifest.expected_from.startswith("scikit-learn ")
    assert manifest.metrics == {"accuracy": 0.97}
    assert {"scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy"} <= set(manifest.training.packages)


@pytest.mark.slow
def test_golden_outputs_are_those_of_the_framework_and_not_of_onnx(tmp_path):
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    samples = pack(model, name="iris", samples=X, owner=OWNER, to=tmp_path / "b").samples()
    rows = X.astype(np.float32).tolist()
    for row, golden in zip(samples.inputs["X"], samples.outputs["probabilities"], strict=True):
        own = model.predict_proba(X[[rows.index(row.tolist())]])[0].astype(np.float32)
        assert (golden == own).all()


PACK_TWICE = """
import sys
import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.datasets import load_iris
from lading.pack import pack
X, y = load_iris(return_X_y=True)
rows = np.random.default_rng(0).normal(size=(80, 3))
forest = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(X, y)
near = KNeighborsRegressor().fit(rows, rows[:, 0])
line = LogisticRegression(max_iter=500).fit(X, y)
for at, (model, samples) in enumerate([(forest, X), (near, rows), (line, X)]):
    bundle = pack(model, name="m", samples=samples, owner="o", to=f"{sys.argv[1]}/{at}")
    print(*(bundle.manifest.files[name].sha256 for name in ("model.onnx", "samples.npz")))
"""


@pytest.mark.slow
def test_the_same_model_has_the_same_bytes_in_every_process(tmp_path):
    answers = []
    for seed in ("1", "3"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", PACK_TWICE, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        answers.append(done.stdout.split())
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == 6


@pytest.mark.slow
def test_packing_twice_gives_the_same_digest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # outside the repository: somebody may commit between the two
    model = make_pipeline(StandardScaler(), SVC()).fit(X, Y)
    digests = {pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / to).digest for to in ("a", "b")}
    assert len(digests) == 1


def test_a_bundle_holds_no_clock_and_no_path(tmp_path):
    bundle = pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    content = b"".join(file.read_bytes() for file in bundle.path.iterdir())
    assert str(tmp_path).encode() not in content
    assert os.uname().nodename.encode() not in (bundle.path / "bundle.json").read_bytes()


@pytest.mark.parametrize(
    ("model", "samples", "kind", "sentence"),
    [
        (SVC(), X, ConverterFailed, "`SVC`: expected a fitted estimator, found one that was never fitted"),
        (SVC, X, ConverterMissing, "found the class `sklearn.svm._classes.SVC`"),
        ({}, X, ConverterMissing, "found `builtins.dict`"),
        (LinearRegression().fit(X, Y), None, SamplesRefused, "expected rows like those"),
        (LinearRegression().fit(X, Y), X[:, :3], SamplesRefused, "X has 3 features"),
        (LinearRegression().fit(X, Y), X[:0], SamplesRefused, "expected at least one row, found none"),
        (LinearRegression().fit(X, Y), X.astype(complex), SamplesRefused, "found `complex128`"),
        (LinearRegression().fit(X, Y), "no.csv", SamplesRefused, "no such file"),
        ("model.pkl", X, ConverterFailed, "found a pickle"),
        ("no_module:x", X, InvalidSetting, "expected `module:object`, found no module `no_module`"),
        ("json:nothing", X, InvalidSetting, "found no `nothing` in `json`"),
        (LinearRegression().fit(X, Y), __file__, InvalidSetting, "or `.json`, found `.py`"),
        ("no.onnx", X, ConverterFailed, "found no such file"),
    ],
)
def test_models_and_samples_that_cannot_be_packed_are_refused(tmp_path, model, samples, kind, sentence):
    with pytest.raises(kind) as refusal:
        pack(model, name="m", samples=samples, owner=OWNER, to=tmp_path / "b")
    assert sentence in refusal.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"name": "No Name"}, InvalidName, "`No Name`"),
        ({"owner": " "}, InvalidSetting, "`owner`"),
        ({"dtype": "float16"}, InvalidSetting, "`dtype`"),
        ({"golden": "none"}, InvalidSetting, "`golden`"),
        ({"tolerance": -1.0}, InvalidSetting, "`tolerance`"),
        ({"metrics": {"accuracy": float("nan")}}, InvalidSetting, "metric `accuracy`"),
        ({"labels": ["a", "b"]}, InvalidSetting, "expected 3 names, found 2"),
        ({"labels": {"0": "a", "1": "b"}}, InvalidSetting, "a name for class `2`"),
        ({"labels": {"0": "a", "1": "b", "2": "c", "3": "d"}}, InvalidSetting, "the classes 0, 1, 2"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(tmp_path, changes, kind, sentence):
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    arguments = {"name": "m", "samples": X, "owner": OWNER, "to": tmp_path / "b", **changes}
    with pytest.raises(kind) as refusal:
        pack(model, **arguments)
    assert sentence in refusal.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_fails_in_the_runtime_is_removed(tmp_path, monkeypatch):
    def refuse(bundle):
        raise ModelInvalid("model `model.onnx`", expected="a model", found="another")

    # A conversion that passes the search and fails here would be a defect of ONNX Runtime: none is known.
    monkeypatch.setattr(converted_bundle, "load_runtime", refuse)
    with pytest.raises(ParityLost, match="expected a bundle that the runtime loads"):
        pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_destination_that_exists_is_left_alone(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(DestinationExists, match="hint: `--overwrite`"):
        pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, to=tmp_path / "b")


@pytest.mark.parametrize(
    ("facts", "lacking"),
    [
        ({}, "no `name` and no `owner`"),
        ({"name": "iris"}, "no `owner`"),
        ({"owner": OWNER}, "no `name`"),
        ({"name": "iris", "owner": " "}, "no `owner`"),
    ],
)
def test_what_a_call_lacks_is_named_with_a_call_that_has_it(facts, lacking):
    with pytest.raises(InvalidSetting) as refused:
        pack(LinearRegression(), **facts)
    assert refused.value.found == lacking
    assert 'lading.pack(model, name="iris", owner="ml@example.com", samples=X)' in (refused.value.hint or "")


def test_texts_among_the_samples_of_an_estimator_of_numbers_are_named_with_the_way_out(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"city": ["a", "b", "c"], "area": [1.0, 2.0, 3.0]})
    model = LinearRegression().fit(X[:, :2], X[:, 2])
    with pytest.raises(SamplesRefused, match="could not convert string") as refused:
        pack(model, name="rent", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert (refused.value.hint or "").startswith(
        "texts in `city`: pass samples without them, or fit `make_pip"
    )
