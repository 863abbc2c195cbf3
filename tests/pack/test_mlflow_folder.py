"""Folders of MLflow, read without MLflow: broken and hostile ones, and which file holds the model."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest
import skops.io

from lading.errors import (
    ConverterFailed,
    ConverterMissing,
    InvalidSetting,
    LadingError,
    SamplesRefused,
)
from lading.pack import pack
from lading.pack.mlflow_flavors import load_flavor, native_flavor
from lading.pack.mlflow_folder import read_folder
from lading.pack.mlflow_python import named_files, needed_packages
from lading.pack.python_models import OwnCode
from support.mlflow_folders import EXAMPLE, OF_PYFUNC, OF_SKLEARN, X, mlflow_folder, write_mlmodel

STEP = """
from sklearn.base import BaseEstimator, TransformerMixin


class Twice(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X * 2
"""
ALLOWED = OwnCode(allow_pickle=True)


class Marks:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def ignore(_):
    pass


def refused(folder: Path, tmp_path: Path, **options) -> LadingError:
    with pytest.raises((ConverterFailed, InvalidSetting, SamplesRefused)) as error:
        pack(f"mlflow:{folder}", name="m", owner="ml@example.com", to=tmp_path / "m.bundle", **options)
    assert not (tmp_path / "m.bundle").exists()
    return error.value


def test_a_folder_is_packed_without_mlflow_and_its_model_is_named(tmp_path):
    folder = mlflow_folder(
        tmp_path / "folder", run_id="5c" * 16, model_uuid="ab" * 16, mlflow_version="3.17.2"
    )
    notes: list[str] = []
    options = {"name": "m", "owner": "ml@example.com", "on_note": notes.append}
    bundle = pack(f"mlflow:{folder}", to=tmp_path / "m.bundle", **options)
    assert "mlflow" not in sys.modules
    run = f"MLflow run {'5c' * 16}, model {'ab' * 16}, MLflow 3.17.2"
    assert bundle.manifest.lineage.training_run == run
    assert (bundle.manifest.format, bundle.manifest.runtime) == (2, "onnx")
    assert any("the proof is made of its input example" in note for note in notes)


def test_the_path_of_a_folder_alone_is_refused_with_its_name(tmp_path):
    folder = mlflow_folder(tmp_path / "folder")
    with pytest.raises(InvalidSetting, match="found a folder with `MLmodel`") as error:
        pack(str(folder), name="m", owner="ml@example.com")
    assert f"`mlflow:{folder}`" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "`MLmodel`: expected YAML of plain values, found while parsing"),
        ("- a\n- b\n", "`MLmodel`: expected an object of YAML, found `['a', 'b']`"),
        ("run_id: x\n", "`MLmodel`: expected `flavors`, the ways to load the model, found nothing"),
        ("flavors: {sklearn: yes}\n", "`MLmodel`: expected settings of each flavor, found `sklearn`: `True`"),
        (
            "flavors: !!python/object/apply:os.mkdir [mark]\n",
            "`MLmodel`: expected YAML of plain values, found tags of Python",
        ),
        ("[" * 1200, "`MLmodel`: expected YAML of plain values, found maximum recursion depth"),
        ("flavors: {spark: {data: sparkml}}\n", "expected the flavor `python_function`"),
        ("\x00", "`MLmodel`: expected YAML of plain values, found unacceptable character"),
    ],
)
def test_what_is_no_mlmodel_is_refused(tmp_path, monkeypatch, text, sentence):
    monkeypatch.chdir(tmp_path)
    folder = mlflow_folder(tmp_path / "folder")
    (folder / "MLmodel").write_text(text)
    assert sentence in str(refused(folder, tmp_path, samples=X))
    assert not (tmp_path / "mark").exists()


def test_a_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "with the file `MLmodel`, found none" in str(refused(tmp_path / "empty", tmp_path))
    assert "found no such folder" in str(refused(tmp_path / "none", tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flavor", "key"),
    [
        ("sklearn", "pickled_model"),
        ("python_function", "model_path"),
        ("python_function", "python_model"),
        ("sklearn", "code"),
    ],
)
@pytest.mark.parametrize("value", ["../model.skops", "a/../../model.skops", "/etc/passwd", "..\\x"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, flavor, key, value):
    flavors = {"sklearn": {**OF_SKLEARN}, "python_function": {**OF_PYFUNC}}
    flavors[flavor][key] = value
    folder = mlflow_folder(tmp_path / "folder", flavors=flavors)
    (tmp_path / "model.skops").write_bytes((folder / "model.skops").read_bytes())
    error = refused(folder, tmp_path)
    assert f"`{flavor}.{key}` of `MLmodel`: expected a path inside of the folder" in str(error)


def test_artifacts_and_examples_are_inside_of_the_folder_as_well(tmp_path):
    artifacts = {"artifacts": {"words": {"path": "../words.txt", "uri": "s3://bucket/words.txt"}}}
    flavors = {"python_function": {**OF_PYFUNC, **artifacts}}
    folder = mlflow_folder(tmp_path / "one", flavors=flavors)
    assert "`python_function.path` of `MLmodel`" in str(refused(folder, tmp_path))
    (tmp_path / "rows.json").write_text("[[1, 2, 3]]")
    example = {**EXAMPLE, "artifact_path": "../rows.json"}
    folder = mlflow_folder(tmp_path / "two", saved_input_example_info=example)
    assert "its input example: expected a file of the folder" in str(refused(folder, tmp_path))


def test_links_and_what_is_no_file_are_refused(tmp_path):
    folder = mlflow_folder(tmp_path / "one")
    (folder / "secret.txt").symlink_to("/etc/passwd")
    assert "found `secret.txt`, a symbolic link" in str(refused(folder, tmp_path))
    folder = mlflow_folder(tmp_path / "two")
    (folder / "artifacts").symlink_to(tmp_path)
    assert "found `artifacts`, a symbolic link" in str(refused(folder, tmp_path))
    folder = mlflow_folder(tmp_path / "three")
    os.mkfifo(folder / "pipe")
    assert "found `pipe`, no plain file" in str(refused(folder, tmp_path))


def test_a_pickle_is_not_read_where_it_is_not_allowed(tmp_path):
    folder = mlflow_folder(tmp_path / "folder", flavors={"sklearn": {"pickled_model": "model.pkl"}})
    (folder / "model.pkl").write_bytes(pickle.dumps(Marks(tmp_path / "mark")))
    assert "found `model.pkl`, a pickle" in str(refused(folder, tmp_path))
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow
def test_a_type_that_skops_does_not_know_has_to_be_named_by_the_packer(tmp_path, module):
    own = module("own_steps_of_mlflow", STEP)
    folder = mlflow_folder(
        tmp_path / "folder",
        flavors={"sklearn": {**OF_SKLEARN, "skops_trusted_types": ["own_steps_of_mlflow.Twice"]}},
    )
    skops.io.dump(own.Twice().fit(X), folder / "model.skops")
    error = refused(folder, tmp_path)
    assert "expected types that skops knows, found `own_steps_of_mlflow.Twice`" in str(error)
    assert "--trust-type own_steps_of_mlflow.Twice" in str(error)
    named = OwnCode(trust_types=["own_steps_of_mlflow.Twice"])
    loaded = load_flavor(read_folder(folder, "mlflow:folder"), "sklearn", named, ignore)
    assert type(loaded) is own.Twice


def test_around_steps_the_input_example_is_no_sample(tmp_path, module):
    # It is what the model between them takes, and not what callers send.
    source = (
        "import lading\n\nclass S(lading.Model):\n    def preprocess(self, inputs):\n        return inputs\n"
    )
    steps = module("steps_around_mlflow", source).S
    folder = mlflow_folder(tmp_path / "folder")
    assert "rows like those of requests, found none" in str(refused(folder, tmp_path, steps=steps))


def test_a_model_without_a_converter_does_not_become_onnx_by_being_asked_to(tmp_path):
    folder = mlflow_folder(tmp_path / "folder", flavors={"python_function": OF_PYFUNC})
    with pytest.raises(ConverterMissing, match="found `python_function`") as error:
        pack(f"mlflow:{folder}", name="m", owner="ml@example.com", runtime="onnx")
    assert "--runtime python" in str(error.value)


def test_a_pickle_is_known_whatever_it_is_called(tmp_path):
    folder = mlflow_folder(tmp_path / "folder", flavors={"python_function": OF_PYFUNC})
    (folder / "data").mkdir()
    (folder / "data" / "readme.txt").write_bytes(pickle.dumps({"weights": [1.0]}))
    assert "found `data/readme.txt`, a pickle" in str(refused(folder, tmp_path))
    opened = read_folder(folder, "mlflow:folder")
    assert named_files(opened, ALLOWED)["data/readme.txt"] == "data-readme.txt.pickle"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("mlflow==3.17.2\nnumpy==2.4.6  # as trained\n\n# a comment\n", ["mlflow==3.17.2", "numpy==2.4.6"]),
        ("mlflow-skinny>=3\n", ["mlflow-skinny>=3", "pandas"]),
        ("scikit-learn==1.9.1\npandas\n", ["scikit-learn==1.9.1", "pandas", "mlflow-skinny==3.17.2"]),
        (None, ["mlflow-skinny==3.17.2", "pandas"]),
    ],
)
def test_the_environment_has_what_the_folder_asks_for_and_what_mlflow_needs(tmp_path, text, lines):
    folder = mlflow_folder(tmp_path / "folder", mlflow_version="3.17.2")
    if text is not None:
        (folder / "requirements.txt").write_text(text)
    assert needed_packages(read_folder(folder, "mlflow:folder")) == lines


def test_a_python_that_no_model_process_runs_in_is_refused(tmp_path):
    folder = mlflow_folder(tmp_path / "folder")
    (folder / "python_env.yaml").write_text("python: 3.9.18\ndependencies:\n- -r requirements.txt\n")
    error = refused(folder, tmp_path, runtime="python")
    assert "expected Python 3.11 or newer, which a model process needs, found Python 3.9.18" in str(error)


def test_each_file_of_a_folder_has_a_name_of_its_own_in_the_bundle(tmp_path):
    folder = mlflow_folder(tmp_path / "folder", flavors={"python_function": OF_PYFUNC})
    for path in (
        "a/b.txt",
        "a-b.txt",
        "A-B.TXT",
        "mlflow.json",
        f"a/{'long' * 60}.json",
        "ä ö.txt",
        ".hidden",
    ):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("x")
    names = named_files(read_folder(folder, "mlflow:folder"), OwnCode())
    assert {"MLmodel", "model.skops", "ä ö.txt", ".hidden", "a/b.txt"} <= names.keys()
    assert "input_example.json" not in names  # rows of somebody
    assert len({name.lower() for name in names.values()} | {"mlflow.json"}) == len(names) + 1
    assert all(len(name) <= 100 and name.isascii() for name in names.values())


def test_the_file_of_each_flavor_is_that_of_mlflows_layout(tmp_path):
    layouts = {
        "onnx": ({"data": "model.onnx"}, "model.onnx"),
        "pytorch": ({"model_data": "data"}, "data/model.pt2"),
        "keras": ({"data": "data"}, "data/model.keras"),
        "tensorflow": ({"model_type": "keras", "data": "data", "save_format": "tf"}, "data/model.keras"),
    }
    for flavor, (settings, file) in layouts.items():
        folder = tmp_path / flavor
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_bytes(b"")
        write_mlmodel(folder, {"flavors": {flavor: settings, "python_function": {}}})
        opened = read_folder(folder, f"mlflow:{flavor}")
        assert native_flavor(opened) == flavor
        assert load_flavor(opened, flavor, OwnCode(), ignore) == folder / file
    saved = tmp_path / "saved"
    (saved / "tf2model").mkdir(parents=True)
    settings = {"model_type": "tf2-module", "saved_model_dir": "tf2model"}
    write_mlmodel(saved, {"flavors": {"tensorflow": settings}})
    opened = read_folder(saved, "mlflow:saved")
    assert load_flavor(opened, "tensorflow", OwnCode(), ignore) == saved / "tf2model"


def test_what_a_flavor_pickles_beside_its_file_is_refused(tmp_path):
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    for name in ("model.keras", "custom_objects.cloudpickle"):
        (folder / "data" / name).write_bytes(b"")
    write_mlmodel(folder, {"flavors": {"keras": {"data": "data"}}})
    with pytest.raises(ConverterFailed, match=r"found `custom_objects\.cloudpickle`") as error:
        load_flavor(read_folder(folder, "mlflow:folder"), "keras", ALLOWED, ignore)
    assert "--runtime python" in str(error.value)
    (folder / "data" / "model.pth").write_bytes(b"")
    write_mlmodel(folder, {"flavors": {"pytorch": {"model_data": "data"}}})
    with pytest.raises(ConverterFailed, match=r"`data/model\.pth`, a pickle"):
        load_flavor(read_folder(folder, "mlflow:folder"), "pytorch", OwnCode(), ignore)


@pytest.mark.parametrize(
    ("stated", "here"), [({"sklearn_version": "1.2.0"}, "sklearn"), ({}, "requirements")], ids=str
)
def test_what_another_version_of_scikit_learn_stored_is_refused_with_both_versions(tmp_path, stated, here):
    folder = mlflow_folder(tmp_path / "folder", flavors={"sklearn": {**OF_SKLEARN, **stated}})
    (folder / "requirements.txt").write_text("mlflow==2.1.0\nscikit-learn==1.2.0  # as trained\n")
    error = refused(folder, tmp_path)
    assert "expected scikit-learn 1.2.0, which saved it in a form of that version alone" in str(error)
    assert "--runtime python" in str(error)


def test_another_version_that_reads_the_file_truthfully_is_a_note(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"")
    write_mlmodel(folder, {"flavors": {"onnx": {"data": "model.onnx", "onnx_version": "1.2.3"}}})
    notes: list[str] = []
    load_flavor(read_folder(folder, "mlflow:folder"), "onnx", OwnCode(), notes.append)
    assert len(notes) == 1
    assert "was saved by onnx 1.2.3; the expected answers are those of" in notes[0]
