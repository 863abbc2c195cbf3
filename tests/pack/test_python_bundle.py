"""Models that run in Python: packed with their code and environment, proved there, answered as here."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

import lading
from lading.bundle import Bundle
from lading.errors import (
    CodeNotAllowed,
    ConverterFailed,
    ParityLost,
    RequirementsRefused,
    SamplesRefused,
)
from support.environments import environments  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("environments")]

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(60, 3))
Y = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
TOTAL = "def predict(X):\n    return X.sum(axis=1)\n"
WEIGHTED = """
import numpy as np

import lading


class Weighted(lading.Model):
    def load(self, files):
        self.weights = np.loadtxt(files / "weights.txt")

    def preprocess(self, inputs):
        return {"X": np.nan_to_num(inputs["X"])}

    def predict(self, inputs):
        return {"score": inputs["X"] @ self.weights}

    def postprocess(self, outputs):
        score = outputs["score"]
        return {"label": np.where(score > 0, "yes", "no").astype(object), "score": score}
"""


def packed(model, tmp_path, samples=X, name="m", **options) -> Bundle:
    options = {"owner": "ml@example.com", "to": tmp_path / f"{name}.bundle", **options}
    return lading.pack(model, name=name, samples=samples, **options)


def asked(bundle, rows, output):
    (values,) = lading.predict(
        bundle, rows, [output], allow=bundle.manifest.executes or "none"
    ).outputs.values()
    return np.array(values)


def test_a_class_is_packed_with_its_code_files_and_environment_and_answers_as_here(module, tmp_path):
    (tmp_path / "weights.txt").write_text("1 2 -3\n")
    model = module("weighted", WEIGHTED).Weighted
    samples = np.concatenate([X, np.full((1, 3), np.nan)])
    steps = []
    bundle = packed(model, tmp_path, samples, files=[tmp_path / "weights.txt"], on_step=steps.append)
    assert steps[:3] == [
        "asking Weighted here",
        "running it with only what the bundle has",
        "resolving its packages",
    ]
    assert steps[-2:] == ["proving it in its environment", "measuring the profile"]
    manifest = bundle.manifest
    assert (manifest.format, manifest.runtime, manifest.executes) == (2, "python", "code")
    assert manifest.steps == ("code:preprocess", "code:predict", "code:postprocess")
    assert [*bundle.lock().versions] == ["numpy"]
    assert bundle.lock().versions["numpy"] == np.__version__
    assert sorted(set(manifest.files) - {"requirements.txt", "samples.npz"}) == [
        "code/weighted.py",
        "environment.lock",
        "files/weights.txt",
        "profile.json",
    ]
    assert manifest.signature.inputs[0].allows_nan
    rows = RANDOM.normal(size=(20, 3))
    assert np.array_equal(asked(bundle, rows, "score"), rows @ [1, 2, -3])
    assert asked(bundle, rows, "label").tolist() == np.where(rows @ [1, 2, -3] > 0, "yes", "no").tolist()


def test_without_leave_none_of_its_code_runs(module, tmp_path):
    mark = tmp_path / "imported"
    model = module("marking", f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n{TOTAL}")
    bundle = packed(model.predict, tmp_path)
    mark.unlink()
    with pytest.raises(CodeNotAllowed, match="found its own code") as refused:
        lading.predict(bundle, X[:1])
    assert "--allow code" in str(refused.value)
    evidence = lading.verify(bundle)
    assert not evidence.holds
    assert [check.name for check in evidence.checks if check.outcome == "failed"] == ["session"]
    Bundle.open(bundle.path).samples()
    assert not mark.exists()
    assert asked(bundle, X[:2], "value").tolist() == X[:2].sum(axis=1).tolist()
    assert mark.exists()


def test_a_function_takes_its_inputs_by_name_and_several_kinds_of_them(module, tmp_path):
    source = """
    def price(area, city):
        return {"price": area * 2, "city": [name.upper() for name in city]}
    """
    samples = pd.DataFrame({"area": [1.5, 2.0, 3.0], "city": ["서울", "Zürich", "München"]})
    bundle = packed(module("price", source).price, tmp_path, samples)
    assert [(tensor.name, tensor.dtype) for tensor in bundle.manifest.signature.inputs] == [
        ("area", "float64"),
        ("city", "string"),
    ]
    assert asked(bundle, [{"area": 4.0, "city": "köln"}], "city").tolist() == ["KÖLN"]


def test_an_estimator_that_runs_in_python_runs_nothing_of_its_own_and_has_the_bits_of_scikit_learn(tmp_path):
    model = make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=0)).fit(X, Y)
    bundle = packed(model, tmp_path, runtime="python", metrics={"accuracy": 1.0})
    assert bundle.manifest.executes is False
    assert bundle.manifest.formats == ("skops", "text")
    assert bundle.manifest.entry == "lading:skops"
    assert "pandas" not in bundle.lock().versions
    rows = RANDOM.normal(size=(200, 3))
    assert np.array_equal(asked(bundle, rows, "probabilities"), model.predict_proba(rows))
    assert asked(bundle, rows, "label").tolist() == model.predict(rows).tolist()


def test_an_estimator_of_a_data_frame_gets_a_data_frame(tmp_path):
    frame = pd.DataFrame({"city": ["a", "b", "c", "a"] * 5, "area": np.linspace(0, 1, 20)})
    model = make_pipeline(OrdinalEncoder(), RandomForestRegressor(3, random_state=0)).fit(
        frame, frame["area"]
    )
    bundle = packed(model, tmp_path, frame, runtime="python")
    assert "pandas" in bundle.lock().versions
    assert asked(bundle, frame.to_dict("records"), "value").tolist() == model.predict(frame).tolist()


CLIP = """
from sklearn.base import BaseEstimator, TransformerMixin


class Clip(TransformerMixin, BaseEstimator):
    def __init__(self, most=1.0):
        self.most = most

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X.clip(-self.most, self.most)
"""


def test_a_step_of_ones_own_has_to_be_named_and_brings_its_code(module, tmp_path):
    model = make_pipeline(module("clip", CLIP).Clip(), LogisticRegression()).fit(X, Y)
    with pytest.raises(ConverterFailed, match=r"found `clip\.Clip`") as refused:
        packed(model, tmp_path, runtime="python")
    assert "--trust-type clip.Clip" in str(refused.value)
    bundle = packed(model, tmp_path, runtime="python", trust_types=["clip.Clip"])
    assert bundle.manifest.executes == "code"
    assert "code/clip.py" in bundle.manifest.files
    assert np.array_equal(asked(bundle, X, "probabilities"), model.predict_proba(X))


def test_a_pickle_is_made_and_read_by_name_only(module, tmp_path):
    import joblib

    model = make_pipeline(module("clip", CLIP).Clip(), LogisticRegression()).fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    with pytest.raises(ConverterFailed, match="found a pickle"):
        packed(tmp_path / "model.joblib", tmp_path)
    bundle = packed(tmp_path / "model.joblib", tmp_path, runtime="python", allow_pickle=True)
    assert bundle.manifest.executes == "pickle"
    with pytest.raises(CodeNotAllowed, match="found a pickle"):
        lading.predict(bundle, X[:1], allow="code")
    assert np.array_equal(asked(bundle, X, "probabilities"), model.predict_proba(X))


def test_a_pickle_of_what_converts_becomes_onnx(tmp_path):
    import joblib

    joblib.dump(LogisticRegression().fit(X, Y), tmp_path / "model.joblib")
    bundle = packed(tmp_path / "model.joblib", tmp_path, allow_pickle=True)
    assert (bundle.manifest.runtime, bundle.manifest.entry) == ("onnx", "")


def test_rows_that_depend_on_each_other_are_never_merged(module, tmp_path):
    source = "def predict(X):\n    return X - X.mean(axis=0)\n"
    notes = []
    many = RANDOM.normal(size=(400, 3))  # more than golden rows
    bundle = packed(module("centred", source).predict, tmp_path, many, on_note=notes.append)
    assert not bundle.manifest.signature.independent_rows
    assert any("depends on the other rows" in note for note in notes)
    assert lading.verify(bundle, python=python_host("code")).holds


def python_host(allow):
    from lading.runtime.python.host import PythonHost

    return PythonHost(allow=allow)


def test_every_check_of_a_bundle_in_python_is_made(module, tmp_path):
    bundle = packed(module("total", TOTAL).predict, tmp_path)
    evidence = lading.verify(bundle, python=python_host("code"))
    outcomes = {check.name: check.outcome for check in evidence.checks}
    assert evidence.holds
    assert {name for name, outcome in outcomes.items() if outcome == "skipped"} == {"onnx", "opset"}
    assert outcomes["golden"] == outcomes["batch"] == outcomes["session"] == "passed"
    # The model's process, and numpy in it.
    assert evidence.numbers["memory_mb"] >= evidence.numbers["process_memory_mb"] > 10


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("def predict(X):\n    return X.sum()\n", ConverterFailed, "a single value"),
        ("def predict(X):\n    return X[:1]\n", ConverterFailed, "expected 60 rows"),
        ("def predict(X):\n    return [None] * len(X)\n", ConverterFailed, "`NoneType`"),
        ("def predict(X):\n    return {}\n", ConverterFailed, "outputs by name"),
        ("def predict(a, b):\n    return a\n", ConverterFailed, "expected one parameter, or those named"),
        ("def predict(X):\n    raise KeyError('a')\n", ConverterFailed, "KeyError: 'a'"),
        ("import random\ndef predict(X):\n    return X * random.random()\n", ParityLost, "the same answers"),
        (
            "import os\ndef predict(X):\n    return X + (os.environ.get('HOME') == '/root')\n",
            ParityLost,
            "process",
        ),
    ],
)
def test_a_model_whose_answers_prove_nothing_is_refused(module, tmp_path, monkeypatch, source, error, words):
    monkeypatch.setenv("HERE", "1")
    with pytest.raises(error, match=words):
        packed(module("bad", source).predict, tmp_path)
    assert not (tmp_path / "m.bundle").exists()


def test_a_model_that_needs_a_file_which_is_not_packed_is_refused(module, tmp_path):
    (tmp_path / "weights.txt").write_text("1 2 3\n")
    source = "import numpy as np\ndef predict(X):\n    return X @ np.loadtxt('weights.txt')\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(ConverterFailed, match="run on its own") as refused:
            packed(module("open_file", source).predict, tmp_path)
    assert "weights.txt" in str(refused.value)


def test_code_needs_samples(module, tmp_path):
    with pytest.raises(SamplesRefused, match="expected rows like those of requests, found none"):
        packed(module("total", TOTAL).predict, tmp_path, None)


def test_stated_requirements_are_the_environment(module, tmp_path):
    source = "def predict(X):\n    import joblib\n    return X + len(joblib.__version__)\n"
    model = module("stated", source).predict
    bundle = packed(model, tmp_path, requirements=["joblib"])
    assert {"joblib", "numpy"} <= bundle.lock().versions.keys()
    with pytest.raises(ParityLost, match="joblib"):
        packed(model, tmp_path, name="other", requirements=["numpy"])
    with pytest.raises(RequirementsRefused):
        packed(model, tmp_path, name="other", requirements=["numpy==0.0.1"])
    assert not (tmp_path / "other.bundle").exists()
