"""Folders that a real MLflow saves: packed, served, and asked beside `mlflow.pyfunc`."""

from __future__ import annotations

import warnings
from pathlib import Path

import httpx
import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

import lading
from lading.errors import CodeNotAllowed, ConverterFailed, InvalidSetting, SamplesRefused
from support.environments import environments  # noqa: F401 - a fixture
from support.mlflow_models import (
    CLIPPED,
    PEOPLE,
    RANDOM,
    SKINNY,
    X,
    Y,
    asked,
    forest,
    of_people,
    save,
    save_people,
)

ROWS = RANDOM.normal(size=(40, 3))


@pytest.fixture(autouse=True)
def quiet_frameworks():
    """Let MLflow and the frameworks warn: of pickles, of whole numbers, of deprecated parts of others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def packed(folder, tmp_path, **options):
    options = {"name": "m", "owner": "ml@example.com", "to": tmp_path / "m.bundle", **options}
    return lading.pack(f"mlflow:{folder}", **options)


def served(bundle, rows, output, **options):
    (values,) = lading.predict(bundle, rows, [output], **options).outputs.values()
    return np.array(values)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("skops", {"skops_trusted_types": ["sklearn.tree._tree.Tree"]}),
        ("pickle", {}),
        ("cloudpickle", {}),
    ],
)
def test_a_model_of_scikit_learn_answers_as_mlflow_does_however_it_was_saved(tmp_path, form, options):
    folder = save(
        mlflow.sklearn,
        forest(),
        tmp_path / "folder",
        serialization_format=form,
        input_example=X[:7],
        **options,
    )
    if form != "skops":
        with pytest.raises(ConverterFailed, match=r"`model\.pkl`, a pickle") as refused:
            packed(folder, tmp_path)
        assert "--allow-pickle" in str(refused.value)
    bundle = packed(folder, tmp_path, allow_pickle=form != "skops")
    assert (bundle.manifest.runtime, bundle.manifest.executes) == ("onnx", False)
    assert served(bundle, ROWS, "label").tolist() == asked(folder, ROWS).tolist()
    assert bundle.samples().rows >= 7


def test_a_data_frame_with_texts_is_asked_over_rest_with_the_request_that_mlflow_has_saved(tmp_path):
    folder = save_people(tmp_path / "folder")
    bundle = packed(folder, tmp_path)
    assert [tensor.name for tensor in bundle.manifest.signature.inputs] == ["age", "city", "score"]
    body = (folder / "serving_input_example.json").read_bytes()
    with lading.serve(bundle) as server:
        headers = {"content-type": "application/json"}
        answer = httpx.post(f"{server.url}/invocations", content=body, headers=headers)
        with lading.Client(server.url) as client:
            labels = client.predict(PEOPLE, ["label"]).values
    assert answer.json()["predictions"] == asked(folder, PEOPLE.head(9)).tolist()
    assert labels == asked(folder, PEOPLE).tolist()


def booster_of_xgboost():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    return xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(frame, Y), 4)


def booster_of_lightgbm():
    return lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, Y), 4)


@pytest.mark.parametrize(
    ("flavor", "train", "output"),
    [
        (mlflow.xgboost, lambda: xgboost.XGBClassifier(n_estimators=4).fit(X, Y), "label"),
        (mlflow.xgboost, booster_of_xgboost, "value"),
        (mlflow.lightgbm, lambda: lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(X, Y), "label"),
        (mlflow.lightgbm, booster_of_lightgbm, "value"),
    ],
    ids=["XGBClassifier", "xgboost.Booster", "LGBMClassifier", "lightgbm.Booster"],
)
def test_a_booster_answers_as_mlflow_does(tmp_path, flavor, train, output):
    named = train is booster_of_xgboost
    rows = pd.DataFrame(ROWS, columns=["a", "b", "c"]) if named else ROWS
    folder = save(flavor, train(), tmp_path / "folder", input_example=rows[:6])
    bundle = packed(folder, tmp_path)
    answers = asked(folder, rows)
    np.testing.assert_allclose(served(bundle, rows, output), answers, rtol=1e-4, atol=1e-5)
    assert bundle.manifest.lineage.training_run.startswith("model ")


def test_an_onnx_model_answers_as_mlflow_does(tmp_path):
    model = to_onnx(forest(), X[:1].astype("f4"), options={"zipmap": False})
    folder = save(mlflow.onnx, model, tmp_path / "folder", input_example=X[:6].astype("f4"))
    bundle = packed(folder, tmp_path)
    rows = ROWS.astype("f4")
    assert served(bundle, rows, "label").tolist() == asked(folder, rows)["label"].tolist()


@pytest.mark.usefixtures("environments")
def test_a_python_model_runs_in_the_environment_that_it_asks_for_and_answers_as_mlflow_does(
    tmp_path, monkeypatch
):
    (tmp_path / "limit.txt").write_text("0.5")
    (tmp_path / "clipped.py").write_text(CLIPPED)
    folder = tmp_path / "folder"
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(tmp_path / "clipped.py"),
        artifacts={"limit": str(tmp_path / "limit.txt")},
        signature=ModelSignature(
            Schema([ColSpec("double", name) for name in "abc"]),
            Schema([ColSpec("double")]),
            ParamSchema([ParamSpec("factor", "double", 2.0)]),
        ),
        input_example=pd.DataFrame(X[:6], columns=["a", "b", "c"]),
        pip_requirements=[SKINNY, "pandas", "humanize==4.12.0"],
    )
    notes = []
    bundle = packed(folder, tmp_path, on_note=notes.append)
    manifest = bundle.manifest
    assert (manifest.runtime, manifest.executes, manifest.steps) == ("python", "code", ("code:predict",))
    assert manifest.expected_from == f"mlflow.pyfunc {mlflow.__version__}"
    assert bundle.lock().versions["humanize"] == "4.12.0"
    assert {"files/artifacts-limit.txt", "files/MLmodel", "code/mlflow_model.py"} <= set(manifest.files)
    assert not any("example" in name for name in manifest.files)
    assert any("`factor`; they keep their defaults" in note for note in notes)
    rows = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    with pytest.raises(CodeNotAllowed):
        lading.predict(bundle, rows)
    monkeypatch.setenv("LADING_ALLOW", "code")
    with lading.serve(bundle) as server:
        body = {"dataframe_split": rows.to_dict("split", index=False)}
        answer = httpx.post(f"{server.url}/invocations", json=body, timeout=60)
    assert answer.json()["predictions"] == asked(folder, rows).tolist()


@pytest.mark.slow
@pytest.mark.usefixtures("environments")
def test_a_pickled_python_model_says_that_it_executes_a_pickle(tmp_path):
    class Shout(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input):  # noqa: ARG002 - MLflow looks at the names
            return pd.DataFrame(
                {"loud": model_input["word"].str.upper(), "letters": model_input["word"].str.len()}
            )

    folder = tmp_path / "folder"
    # No `ß`: pandas makes `ẞ` of it with pyarrow, which is here, and `SS` without, as in the environment.
    rows = pd.DataFrame({"word": ["a", "서울", "köln"]})
    mlflow.pyfunc.save_model(
        str(folder), python_model=Shout(), input_example=rows, pip_requirements=[SKINNY, "pandas"]
    )
    with pytest.raises(ConverterFailed, match=r"python_model\.pkl`, a pickle"):
        packed(folder, tmp_path)
    bundle = packed(folder, tmp_path, allow_pickle=True)
    assert bundle.manifest.executes == "pickle"
    words = rows["word"].tolist()
    assert served(bundle, words, "loud", allow="pickle").tolist() == asked(folder, rows)["loud"].tolist()
    assert served(bundle, words, "letters", allow="pickle").tolist() == [1, 2, 4]


@pytest.mark.slow
@pytest.mark.usefixtures("environments")
def test_a_native_flavor_runs_as_mlflow_asks_it_where_that_is_said(tmp_path):
    folder = save_people(tmp_path / "folder")
    bundle = packed(folder, tmp_path, runtime="python")
    assert (bundle.manifest.runtime, bundle.manifest.executes) == ("python", "code")
    assert served(bundle, PEOPLE, "value", allow="code").tolist() == asked(folder, PEOPLE).tolist()


def test_a_model_of_a_run_is_resolved_by_mlflow_and_names_the_run(tmp_path, monkeypatch):
    with pytest.raises(InvalidSetting, match="MLFLOW_TRACKING_URI"):
        lading.pack("models:/people/1", name="m", owner="ml@example.com")
    # Of folders: to make the tables of a database takes MLflow several seconds.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "runs").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("e")
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(
            of_people(),
            name="people",
            registered_model_name="people",
            input_example=PEOPLE.head(9),
            pip_requirements=[SKINNY],
        )
    options = {"name": "m", "owner": "ml@example.com", "overwrite": True, "to": tmp_path / "m.bundle"}
    for model in ("models:/people/1", f"runs:/{run.info.run_id}/people"):
        bundle = lading.pack(model, **options)
        assert f"MLflow run {run.info.run_id}" in bundle.manifest.lineage.training_run
    with pytest.raises(InvalidSetting, match="expected a model that MLflow downloads"):
        lading.pack("models:/people/7", **options)


OF_PEOPLE = (("age", "long"), ("city", "string"), ("score", "double"))


def of_columns(*columns):
    return Schema([ColSpec(kind, name) for name, kind in columns])


@pytest.mark.parametrize(
    ("signature", "sentence"),
    [
        (
            ModelSignature(of_columns(("age", "long"), ("town", "string"), ("score", "double"))),
            "found `age`, `city`, `score`, without `town`",
        ),
        (
            ModelSignature(of_columns(("age", "string"), ("city", "string"), ("score", "double"))),
            "expected `age: string`, as MLflow's signature says, found `int64`",
        ),
        (
            ModelSignature(of_columns(*OF_PEOPLE), of_columns(("risk", "double"))),
            None,
        ),
        (
            ModelSignature(of_columns(*OF_PEOPLE), of_columns(("flag", "boolean"))),
            "expected `flag: boolean`, as MLflow's signature says, found `label: string [batch]`",
        ),
    ],
    ids=["another name", "another type", "another output", "another kind of output"],
)
def test_a_signature_that_is_not_the_models_is_refused_in_one_sentence(tmp_path, signature, sentence):
    folder = save_people(tmp_path / "folder", signature=signature)
    if sentence is None:
        assert packed(folder, tmp_path).manifest.runtime == "onnx"
        return
    with pytest.raises((SamplesRefused, ConverterFailed)) as refused:
        packed(folder, tmp_path)
    assert sentence in str(refused.value)
    assert not (tmp_path / "m.bundle").exists()


def test_tensors_have_the_shape_of_the_signature(tmp_path):
    model = LinearRegression().fit(X, X[:, :2])
    folder = save(mlflow.sklearn, model, tmp_path / "folder", signature=infer_signature(X, model.predict(X)))
    with pytest.raises(SamplesRefused, match="none, and no input example") as refused:
        packed(folder, tmp_path)
    assert f"lading pack mlflow:{folder} --samples rows.csv" in str(refused.value)
    with pytest.raises(SamplesRefused, match=r"float64 \[-1, 3\]`, as MLflow's signature says"):
        packed(folder, tmp_path, samples=X[:, :2])
    bundle = packed(folder, tmp_path, samples=X)
    np.testing.assert_allclose(served(bundle, ROWS, "value"), asked(folder, ROWS), rtol=1e-4)


def test_an_optional_column_that_the_rows_lack_is_a_note_and_not_an_input(tmp_path):
    columns = of_columns(*OF_PEOPLE).inputs
    signature = ModelSignature(Schema([*columns, ColSpec("double", "bonus", required=False)]))
    folder = save_people(tmp_path / "folder", signature=signature)
    notes: list[str] = []
    bundle = packed(folder, tmp_path, on_note=notes.append)
    assert [tensor.name for tensor in bundle.manifest.signature.inputs] == ["age", "city", "score"]
    assert any("the optional column `bonus` is not among them" in note for note in notes)


def test_what_another_version_of_python_or_of_scikit_learn_pickled_is_refused(tmp_path):
    folder = save(
        mlflow.sklearn,
        forest(),
        tmp_path / "folder",
        serialization_format="cloudpickle",
        input_example=X[:7],
    )
    as_saved = {path: path.read_text() for path in (folder / "MLmodel", folder / "python_env.yaml")}
    python = Path(folder / "python_env.yaml")
    python.write_text("python: 3.10.4\n")
    with pytest.raises(ConverterFailed, match=r"expected Python 3\.10\.4, whose bytecode"):
        packed(folder, tmp_path, allow_pickle=True)
    python.write_text(as_saved[python])
    text = as_saved[folder / "MLmodel"]
    version = text.partition("sklearn_version: ")[2].split()[0]
    (folder / "MLmodel").write_text(text.replace(f"sklearn_version: {version}", "sklearn_version: 1.5.2"))
    with pytest.raises(ConverterFailed, match=r"scikit-learn 1\.5\.2, which saved it") as refused:
        packed(folder, tmp_path, allow_pickle=True)
    assert "--runtime python" in str(refused.value)
