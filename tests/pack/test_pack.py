"""Packing: what is promised of a bundle, and what is refused with which sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from lading.errors import (
    ConverterFailed,
    ConverterMissing,
    DestinationExists,
    InvalidName,
    InvalidSetting,
    ParityLost,
    SamplesRefused,
    ValueRefused,
)
from lading.pack import pack
from lading.pack.sources import read_samples
from lading.parity import Tolerance
from lading.runtime.open import load_runtime
from support.sklearn_survey import count_disagreements

DATA = Path(__file__).parents[1] / "data"
OWNER = "ml@example.com"
X, Y = load_iris(return_X_y=True)
IRIS = ("setosa", "versicolor", "virginica")


def passengers(rows: int = 240):
    """Give a frame of numbers, texts and missing values, and a target that depends on them."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 80, rows),
            "fare": random.gamma(2, 20, rows).round(2),
            "sex": random.choice(["male", "female"], rows),
            "port": random.choice(["S", "C", "Q"], rows),
        }
    )
    target = ((frame["age"] < 40) ^ (frame["sex"] == "female")).to_numpy().astype(int)
    return frame, target


def mixed_pipeline(frame, target):
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "fare"]),
            ("categories", OneHotEncoder(handle_unknown="ignore"), ["sex", "port"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(frame, target)


def offset_pipeline():
    """A feature of large offset: float32 keeps 128 seconds of a time stamp, the tree asks for one."""
    random = np.random.default_rng(0)
    rows = np.column_stack([1.7e9 + random.random(300) * 1000, random.random(300)])
    target = (rows[:, 0] > 1.7e9 + 500).astype(int)
    return make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(rows, target), rows


def answer(bundle, rows):
    runtime = load_runtime(bundle)
    try:
        return runtime.run(bundle.manifest.signature.cast_rows(rows))
    finally:
        runtime.close()


# --- what a bundle says ---------------------------------------------------------------------------------


def test_a_pipeline_becomes_a_bundle_that_says_what_it_is(tmp_path):
    model = make_pipeline(StandardScaler(), SVC()).fit(X, Y)
    bundle = pack(
        model, name="iris", samples=X, owner=OWNER, labels=IRIS, metrics={"accuracy": 0.97}, to=tmp_path / "b"
    )
    manifest = bundle.manifest
    assert [str(one) for one in manifest.signature.inputs] == ["float32 [batch, 4]"]
    assert [(one.name, str(one)) for one in manifest.signature.outputs] == [
        ("label", "int64 [batch]"),
        ("scores", "float32 [batch, 3]"),
    ]
    assert manifest.signature.outputs[1].columns == ("0", "1", "2")
    assert manifest.labels == {"0": "setosa", "1": "versicolor", "2": "virginica"}
    assert manifest.purpose == "classification"
    assert manifest.expected_from.startswith("scikit-learn ")
    assert manifest.metrics == {"accuracy": 0.97}
    assert {"scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy"} <= set(manifest.training.packages)


def test_golden_outputs_are_the_framework_s_and_not_those_of_onnx(tmp_path):
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    samples = pack(model, name="iris", samples=X, owner=OWNER, to=tmp_path / "b").samples()
    given = X.astype(np.float32).tolist()
    for row, found in zip(samples.inputs["X"], samples.outputs["probabilities"], strict=True):
        own = model.predict_proba(X[[given.index(row.tolist())]])[0].astype(np.float32)
        assert (found == own).all()


def test_golden_rows_are_those_nearest_the_boundary_then_others(tmp_path):
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, 3))
    model = LogisticRegression().fit(rows, (rows[:, 0] + 0.3 * random.normal(size=2000) > 0).astype(int))
    samples = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b").samples()
    margin = np.abs(model.predict_proba(rows) @ np.array([1, -1]))
    kept = {row.tobytes() for row in samples.inputs["X"]}
    nearest = rows[np.argsort(margin)[:120]].astype(np.float32)
    assert samples.rows == 256
    assert sum(row.tobytes() in kept for row in nearest) >= 118  # but for rows too near to a tie
    assert (np.abs(samples.outputs["probabilities"] @ np.array([1, -1])) > 0.5).sum() > 30


def test_requirements_are_the_training_environment(tmp_path):
    bundle = pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    lines = (bundle.path / "requirements.txt").read_text().splitlines()
    assert lines == sorted(lines)
    assert f"numpy=={np.__version__}" in lines


# --- forms of samples -----------------------------------------------------------------------------------


def test_a_mixed_frame_is_called_with_rows_as_objects(tmp_path):
    frame, target = passengers()
    frame["fare"] = frame["fare"].mask(frame["fare"] > 80)
    model = mixed_pipeline(frame, target)
    bundle = pack(model, name="titanic", samples=frame, owner=OWNER, to=tmp_path / "b")
    inputs = {one.name: (one.dtype, one.shape, one.allows_nan) for one in bundle.manifest.signature.inputs}
    assert inputs == {
        "age": ("float32", ("batch", 1), False),
        "fare": ("float32", ("batch", 1), True),
        "sex": ("string", ("batch", 1), False),
        "port": ("string", ("batch", 1), False),
    }
    rows = json.loads(frame.head(9).to_json(orient="records"))
    found = answer(bundle, rows)
    assert (found["label"] == model.predict(frame.head(9))).all()
    assert np.allclose(found["probabilities"], model.predict_proba(frame.head(9)), atol=1e-5)


def test_a_numeric_frame_is_one_input_with_columns(tmp_path):
    frame = passengers()[0][["age", "fare"]]
    by_name = ColumnTransformer([("scaled", StandardScaler(), ["fare"])], remainder="passthrough")
    model = make_pipeline(by_name, LinearRegression()).fit(frame, frame["age"] * 2.0 + frame["fare"])
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    (only,) = bundle.manifest.signature.inputs
    assert (only.name, str(only), only.columns) == ("X", "float32 [batch, 2]", ("age", "fare"))
    found = answer(bundle, [{"fare": 10.0, "age": 40}])
    assert found["value"] == pytest.approx(
        model.predict(pd.DataFrame({"age": [40], "fare": [10.0]})), rel=1e-5
    )


def test_an_array_takes_the_column_names_of_training(tmp_path):
    frame = passengers()[0][["age", "fare"]]
    model = LinearRegression().fit(frame, frame["age"])
    bundle = pack(model, name="m", samples=frame.to_numpy(), owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.columns == ("age", "fare")


def test_whole_numbers_that_are_categories_become_integers(tmp_path):
    frame, target = passengers()
    frame = frame[["fare"]].assign(zone=np.arange(len(frame)) % 4 + 1)
    encode = ColumnTransformer(
        [("zone", OneHotEncoder(handle_unknown="ignore"), ["zone"])], remainder="passthrough"
    )
    model = make_pipeline(encode, LogisticRegression()).fit(frame, target)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.input("zone").dtype == "int64"
    with pytest.raises(ValueRefused, match=r"1\.5"):
        answer(bundle, [{"fare": 10.0, "zone": 1.5}])


@pytest.mark.parametrize("suffix", ["npz", "npy", "csv", "parquet", "json"])
def test_samples_come_from_files(tmp_path, suffix):
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
def test_samples_in_json_are_rows_as_requests_bring_them(tmp_path, body):
    (tmp_path / "rows.json").write_text(body)
    np.testing.assert_array_equal(read_samples(tmp_path / "rows.json"), [[1, 2.5], [3, np.nan]])
    (tmp_path / "rows.json").write_text(body.replace("null", '"x"'))
    assert read_samples(str(tmp_path / "rows.json")) == [[1, 2.5], [3, "x"]]


def test_a_model_is_named_as_module_and_object(tmp_path, monkeypatch):
    (tmp_path / "trained_here.py").write_text(
        "from sklearn.linear_model import LinearRegression\n"
        "model = LinearRegression().fit([[0.0], [1.0]], [0, 2])\n"
    )
    monkeypatch.chdir(tmp_path)
    bundle = pack("trained_here:model", name="m", samples=[[0.5], [0.7]], owner=OWNER)
    assert bundle.path == Path("m.bundle")
    assert answer(bundle, [[3.0]])["value"] == pytest.approx([6.0])


def test_a_module_that_fails_is_no_wrong_use_but_one_that_is_not_there_is(tmp_path, monkeypatch):
    (tmp_path / "failing_here.py").write_text("import no_module_at_all\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConverterFailed, match="expected a module that loads, found ModuleNotFoundError"):
        pack("failing_here:model", name="m", samples=X, owner=OWNER)
    with pytest.raises(InvalidSetting) as refusal:
        pack("not_here.train:model", name="m", samples=X, owner=OWNER)
    assert refusal.value.hint == "run it in the folder that holds `not_here.py`"


# --- dtype by proof -------------------------------------------------------------------------------------


def test_a_pipeline_that_needs_float64_is_packed_in_float64_and_says_so(tmp_path):
    model, rows = offset_pipeline()
    notes = []
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b", on_note=notes.append)
    assert bundle.manifest.signature.inputs[0].dtype == "float64"
    assert len(notes) == 1
    assert notes[0].startswith("parity does not hold in float32")
    assert "packed in float64" in notes[0]
    random = np.random.default_rng(1)
    others = np.column_stack([1.7e9 + random.random(500) * 1000, random.random(500)])
    assert count_disagreements(bundle, model, others) == 0


def test_float32_alone_is_refused_with_the_rows_that_show_it(tmp_path):
    model, rows = offset_pipeline()
    with pytest.raises(ParityLost) as refusal:
        pack(model, name="m", samples=rows, owner=OWNER, dtype="float32", to=tmp_path / "b")
    message = refusal.value.message
    assert message.startswith(
        "`Pipeline(StandardScaler, DecisionTreeClassifier)` in float32: expected the answers of scikit-learn"
    )
    assert "output `probabilities`, row " in message
    assert "became" in message
    assert "float64" in (refusal.value.hint or "")
    assert not (tmp_path / "b").exists()


def test_rows_on_the_thresholds_of_a_scaled_forest_agree(tmp_path):
    model = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(X, Y)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    halfway = (X[:-1] + X[1:]) / 2
    assert count_disagreements(bundle, model, halfway) == 0


def test_samples_are_not_all_that_parity_is_tried_on(tmp_path):
    # Between the points of a grid two neighbours are equally far, and which is taken is chance.
    grid = np.stack(np.meshgrid(np.arange(12) / 2, np.arange(12) / 2), axis=-1).reshape(-1, 2)
    model = KNeighborsRegressor(1).fit(grid, np.arange(len(grid)))
    with pytest.raises(ParityLost, match="drawn row"):
        pack(model, name="m", samples=grid, owner=OWNER, to=tmp_path / "b")


def test_a_tolerance_is_kept_as_given(tmp_path):
    bundle = pack(
        LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, tolerance=0.01, to=tmp_path / "b"
    )
    assert bundle.manifest.tolerance == Tolerance(rtol=0.01, atol=0.01)


def test_the_usual_tolerance_follows_the_size_of_the_values(tmp_path):
    small = pack(LinearRegression().fit(X, Y * 1e-6), name="m", samples=X, owner=OWNER, to=tmp_path / "s")
    large = pack(LinearRegression().fit(X, Y * 1e6), name="m", samples=X, owner=OWNER, to=tmp_path / "l")
    assert small.manifest.tolerance.atol == 1e-10
    assert large.manifest.tolerance.atol == 100.0


# --- reproducible ---------------------------------------------------------------------------------------

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


# --- synthetic golden rows ------------------------------------------------------------------------------


def test_synthetic_golden_rows_are_no_samples(tmp_path):
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 3))
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, golden="synthetic", to=tmp_path / "b")
    given = set(rows.astype(np.float32).ravel().tolist())
    kept = bundle.samples().inputs["X"]
    assert len(kept) == 256
    assert not given & set(kept.ravel().tolist())


def test_synthetic_texts_are_categories_that_repeat(tmp_path):
    frame, target = passengers()
    frame.loc[0, "port"] = "a port named once"
    model = mixed_pipeline(frame, target)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, golden="synthetic", to=tmp_path / "b")
    assert set(bundle.samples().inputs["port"].ravel()) == {"S", "C", "Q"}


def test_texts_that_occur_once_are_not_given_away(tmp_path):
    frame, target = passengers()
    frame["port"] = [f"name{at}" for at in range(len(frame))]
    model = mixed_pipeline(frame, target)
    with pytest.raises(SamplesRefused, match="categories that repeat"):
        pack(model, name="m", samples=frame, owner=OWNER, golden="synthetic", to=tmp_path / "b")


# --- ONNX files -----------------------------------------------------------------------------------------


def test_the_book_s_model_packs_without_samples(tmp_path):
    bundle = pack(
        DATA / "iris_svc.onnx", name="iris", owner=OWNER, labels=DATA / "label.json", to=tmp_path / "b"
    )
    manifest = bundle.manifest
    assert [(one.name, str(one)) for one in manifest.signature.outputs] == [
        ("label", "int64 [batch]"),
        ("probabilities", "float32 [batch, 3]"),
    ]
    assert manifest.labels["2"] == "virginica"
    assert manifest.expected_from.endswith("(no framework outputs were given)")
    found = answer(bundle, [[5.1, 3.5, 1.4, 0.2]])
    assert found["probabilities"][0] == pytest.approx([0.97093, 0.01558, 0.01348], abs=1e-4)
    assert found["label"].tolist() == [0]


def test_expected_outputs_that_come_with_the_samples_are_compared(tmp_path):
    rows = X.astype(np.float32)
    bundle = pack(DATA / "iris_rf.onnx", name="iris", samples=rows, owner=OWNER, to=tmp_path / "first")
    found = answer(bundle, rows.tolist())
    given = {"float_input": rows, "label": found["label"], "probabilities": found["probabilities"]}
    held = pack(DATA / "iris_rf.onnx", name="iris", samples=given, owner=OWNER, to=tmp_path / "second")
    assert held.manifest.expected_from == "the outputs that were given with the samples"
    wrong = {**given, "label": np.roll(found["label"], 60)}
    with pytest.raises(ParityLost, match="output `label`, row 0"):
        pack(DATA / "iris_rf.onnx", name="iris", samples=wrong, owner=OWNER, to=tmp_path / "third")


# --- refusals -------------------------------------------------------------------------------------------


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
def test_what_cannot_be_packed_is_refused_with_a_reason(tmp_path, model, samples, kind, sentence):
    with pytest.raises(kind) as refusal:
        pack(model, name="m", samples=samples, owner=OWNER, to=tmp_path / "b")
    assert sentence in refusal.value.message
    assert list(tmp_path.iterdir()) == []


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
def test_wrong_use_is_said_before_anything_is_written(tmp_path, changes, kind, sentence):
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    facts = {"name": "m", "samples": X, "owner": OWNER, "to": tmp_path / "b", **changes}
    with pytest.raises(kind) as refusal:
        pack(model, **facts)
    assert sentence in refusal.value.message
    assert list(tmp_path.iterdir()) == []


def test_labels_of_a_regressor_are_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="a model that gives a `label`"):
        pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, labels=IRIS, to=tmp_path / "b")


def test_a_destination_that_exists_is_left_alone(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(DestinationExists, match="hint: remove it, or name another with `-o`"):
        pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, to=tmp_path / "b")


def test_missing_texts_are_refused_by_column_and_row(tmp_path):
    frame, target = passengers()
    model = mixed_pipeline(frame, target)
    frame.loc[7, "port"] = None
    with pytest.raises(
        SamplesRefused, match=r"column `port`: expected texts only, found a missing value in row 7"
    ):
        pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")


def test_an_unseen_text_that_only_the_framework_refuses_is_told(tmp_path):
    from sklearn.preprocessing import OrdinalEncoder

    frame, target = passengers()
    encode = ColumnTransformer([("port", OrdinalEncoder(), ["port"])], remainder="drop")
    model = make_pipeline(encode, LogisticRegression()).fit(frame, target)
    notes = []
    pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b", on_note=notes.append)
    assert [note for note in notes if note.startswith("an unseen text in column `port`")]


def test_histogram_boosting_is_converted_although_its_converter_fails_alone(tmp_path):
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, Y)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, X + 0.01) == 0
