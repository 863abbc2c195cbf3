"""The converter of a model, chosen by the model's type."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from lading.convert.open import framework_of, is_of_texts, open_model, open_texts
from lading.errors import ConverterMissing, ExtraMissing
from support.packed_graphs import FLOAT, node, pack_graph, value
from support.sklearn_models import X, Y


class OwnEstimator(ClassifierMixin, BaseEstimator):
    """An estimator of somebody else, built on scikit-learn's classes."""


@pytest.mark.parametrize(
    ("model", "framework"),
    [
        (LinearRegression(), "sklearn"),
        (make_pipeline(LinearRegression()), "sklearn"),
        (OwnEstimator(), "sklearn"),
        ({"weights": [1.0]}, None),
        (LinearRegression, None),  # a class is not a model
    ],
)
def test_the_framework_of_a_model_is_that_of_its_most_derived_known_class(model, framework):
    assert framework_of(model) == framework


def test_a_model_of_an_unknown_framework_is_refused_with_a_way_out():
    with pytest.raises(ConverterMissing, match=r"found `builtins\.dict`") as caught:
        open_model({})
    assert caught.value.hint == "export the model to ONNX with its own framework, and pack that file"


def test_an_estimator_and_a_file_are_opened_by_their_converters(tmp_path):
    assert open_model(LinearRegression().fit(X, Y)).framework.startswith("scikit-learn ")
    pack_graph(tmp_path, [node("Relu", ["a"], ["c"])], [value("a", FLOAT, ["n"])], [value("c", FLOAT, ["n"])])
    assert open_model(tmp_path / "m.onnx").framework.startswith("onnx ")


def test_a_missing_exporter_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "lading.convert.sklearn", raising=False)
    monkeypatch.delitem(sys.modules, "lading.convert.sklearn_repairs", raising=False)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ExtraMissing, match="skl2onnx") as caught:
        open_model(LinearRegression().fit(X, Y))
    assert "lading-ml[pack]" in caught.value.hint


@pytest.mark.parametrize(("path", "extra"), [("m.keras", "keras"), ("saved", "tensorflow")])
def test_a_saved_model_without_its_framework_is_refused_with_the_extra_that_brings_it(tmp_path, path, extra):
    # Neither is installed beside the tests: they have an environment of their own.
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    with pytest.raises(ExtraMissing, match=f"no module `{extra}`") as caught:
        open_model(tmp_path / path)
    assert f"lading-ml[{extra}]" in caught.value.hint


def test_a_model_with_its_tokenizer_needs_the_extra_of_transformers(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert is_of_texts(tmp_path)
    with pytest.raises(ExtraMissing) as caught:
        open_texts(tmp_path, None)
    assert "lading-ml[transformers]" in caught.value.hint


@pytest.mark.slow
def test_choosing_a_converter_imports_no_framework():
    code = (
        "import sys; from lading.convert.open import framework_of\n"
        "framework_of({}); print({'sklearn', 'skl2onnx', 'onnx', 'onnxruntime'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
