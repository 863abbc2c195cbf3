"""Objects of somebody's own class that predict: what is stored of them, and how they answer in a bundle."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import lading
from lading.convert.table import make_table
from lading.errors import CodeNotAllowed, ConverterFailed, ConverterMissing, InvalidSetting, SamplesRefused
from lading.pack.own_objects import is_object, object_model
from lading.pack.python_models import OwnCode
from support.environments import environments  # noqa: F401 - a fixture

X = np.random.default_rng(7).normal(size=(40, 3))
WEIGHTED = """
import numpy as np


class Weighted:
    def __init__(self, weights, limits):
        self.weights = np.asarray(weights)
        self.settings = {"limits": limits, "words": ["no", "yes"], "none": None}

    def predict(self, rows):
        score = rows @ self.weights
        over = (score > self.settings["limits"][0]).astype(int)
        return {"score": score, "word": [self.settings["words"][at] for at in over]}
"""
PLAIN = "class Plain:\n    def predict(self, rows):\n        return rows.sum(axis=1)\n"


def stored(thing, samples=X, **own):
    return object_model(thing, make_table(samples, "it"), OwnCode(**own))


@pytest.fixture
def weighted(module):
    return module("weighted", WEIGHTED).Weighted([1.0, 2.0, -3.0], (0.25, 0.5))


@pytest.mark.slow
@pytest.mark.usefixtures("environments")
def test_an_object_is_packed_with_its_class_and_its_values_and_without_a_pickle(weighted, tmp_path):
    bundle = lading.pack(
        weighted, name="m", samples=X, owner="ml@example.com", runtime="python", to=tmp_path / "m"
    )
    manifest = bundle.manifest
    assert (manifest.entry, manifest.executes, manifest.formats) == (
        "lading:skops",
        "code",
        ("skops", "text"),
    )
    assert {"code/weighted.py", "files/model.skops", "files/trusted.txt"} <= set(manifest.files)
    assert (bundle.path / "files/trusted.txt").read_text() == "weighted.Weighted\n"
    with pytest.raises(CodeNotAllowed):
        lading.predict(bundle, X)
    answers = lading.predict(bundle, X, ["score", "word"], allow="code").outputs
    expected = weighted.predict(X)
    assert np.array_equal(answers["score"], expected["score"])
    assert list(answers["word"]) == expected["word"]


@pytest.mark.slow
@pytest.mark.usefixtures("environments")
def test_an_object_of_a_script_that_takes_a_data_frame_answers_in_another_process(tmp_path):
    (tmp_path / "rent.py").write_text("""
import pandas as pd

import lading

factor = 2.0
rows = 3  # A name that the class has for its own.


class Rent:
    def __init__(self):
        self.cities = {"서울": 3.0}

    def predict(self, rows):
        return rows["area"] * factor + rows["city"].map(self.cities).fillna(0.0)


frame = pd.DataFrame({"area": [1.0, 2.0, 3.5], "city": ["서울", "Zürich", "서울"]})
lading.pack(Rent(), name="rent", samples=frame, owner="ml@example.com", runtime="python")
""")
    done = subprocess.run(
        [sys.executable, "rent.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [{"area": 4.0, "city": "서울"}, {"area": 1.0, "city": "Köln"}]
    answer = lading.predict(tmp_path / "rent.bundle", rows, ["value"], allow="code")
    assert list(answer.outputs["value"]) == [11.0, 2.0]


def test_what_it_holds_needs_no_name_but_another_class_in_it_does(module):
    source = f"{PLAIN}\n\nclass Part:\n    pass\n"
    own = module("plain", source)
    plain = own.Plain()
    assert stored(plain).files["files/trusted.txt"] == b"plain.Plain\n"
    plain.part = own.Part()
    with pytest.raises(ConverterFailed, match=r"found `plain\.Part`") as refused:
        stored(plain)
    assert "--trust-type plain.Part" in str(refused.value)
    assert (
        stored(plain, trust_types=["plain.Part"]).files["files/trusted.txt"] == b"plain.Part\nplain.Plain\n"
    )


def test_what_cannot_be_stored_says_how_it_could_and_then_is_a_pickle(module):
    plain = module("plain", PLAIN).Plain()
    plain.stream = np.random.default_rng(0).bit_generator.seed_seq
    plain.again = open  # a function of Python's own
    with pytest.raises(ConverterFailed) as refused:
        stored(plain)
    assert "--allow-pickle" in str(refused.value) or "--trust-type" in str(refused.value)
    model = stored(plain, allow_pickle=True)
    assert model.entry == "lading:joblib"
    assert sorted(model.files) == ["code/plain.py", "files/model.joblib", "files/model.json"]


def test_the_object_is_called_with_what_the_samples_are(module):
    own = module(
        "echo",
        "class Echo:\n    def predict(self, rows):\n        return [type(rows).__name__] * len(rows)\n",
    )
    table = make_table(X, "it")
    assert stored(own.Echo()).answer(table, {})["value"][0] == "ndarray"
    frame = pd.DataFrame({"b": [1.0], "a": [2.0]})
    model = stored(own.Echo(), frame)
    assert model.answer(make_table(frame, "it"), {})["value"].tolist() == ["DataFrame"]
    assert json.loads(model.files["files/model.json"])["columns"] == ["b", "a"]


def test_a_class_that_is_stored_is_left_as_it_was(weighted):
    stored(weighted)
    assert type(weighted).__module__ == "weighted"


def test_what_does_not_belong_to_an_object_is_refused(module, tmp_path):
    plain = module("plain", PLAIN).Plain()
    (tmp_path / "weights.txt").write_text("1\n")
    with pytest.raises(InvalidSetting, match="expected a class, which loads them"):
        stored(plain, files=[tmp_path / "weights.txt"])
    with pytest.raises(SamplesRefused, match="found arrays by name"):
        stored(plain, {"a": X, "b": X})

    class Local:
        def predict(self, rows):
            return rows

    with pytest.raises(ConverterFailed, match="a class at the top of a module"):
        stored(Local())
    with pytest.raises(ConverterMissing, match="hint: `--runtime python`"):
        lading.pack(plain, name="m", samples=X, owner="ml@example.com", to=tmp_path / "m")


def test_models_of_frameworks_classes_and_functions_are_no_objects(module):
    from sklearn.linear_model import LinearRegression

    own = module("plain", PLAIN)
    assert is_object(own.Plain())
    for thing in (own.Plain, LinearRegression(), stored, 3, "model.onnx"):
        assert not is_object(thing)
