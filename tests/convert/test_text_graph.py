"""Nodes that read text, in graphs of their own."""

from __future__ import annotations

import onnx
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from lading.pack import pack
from support.sklearn_models import OWNER, answer


@pytest.fixture
def bundle(tmp_path):
    vectorizer = CountVectorizer(vocabulary=["great food", "zebra"], ngram_range=(1, 2), stop_words=["the"])
    vectorizer.fit(["great the food"])
    return pack(vectorizer, name="m", samples=["great the food"], owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
def test_gaps_are_closed_before_n_grams_are_counted(bundle):
    texts = ["great the the food", "the great food", "great new food", "the", ""]
    assert answer(bundle, texts)["features"].tolist() == [[1, 0], [1, 0], [0, 0], [0, 0], [0, 0]]


@pytest.mark.slow
def test_a_column_whose_gram_never_occurs_is_present(bundle):
    assert answer(bundle, ["food"])["features"].shape == (1, 2)


@pytest.mark.slow
def test_the_graph_needs_no_opset_newer_than_18(bundle):
    assert {opset.domain: opset.version for opset in onnx.load(bundle.path / "model.onnx").opset_import}[
        ""
    ] <= 18
