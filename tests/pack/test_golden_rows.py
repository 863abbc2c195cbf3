"""The rows that become golden samples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from lading.convert.table import make_table
from lading.pack import pack
from lading.pack.golden_rows import choose_rows
from lading.parity import Tolerance
from support.packed_graphs import FLOAT, node, pack_graph, value
from support.sklearn_models import OWNER


def test_half_of_the_golden_rows_are_nearest_to_the_decision_boundary(tmp_path):
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, 3))
    model = LogisticRegression().fit(rows, (rows[:, 0] + 0.3 * random.normal(size=2000) > 0).astype(int))
    samples = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b").samples()
    margin = np.abs(model.predict_proba(rows) @ np.array([1, -1]))
    kept = {row.tobytes() for row in samples.inputs["X"]}
    nearest = rows[np.argsort(margin)[:120]].astype(np.float32)
    assert samples.rows == 256
    assert sum(row.tobytes() in kept for row in nearest) >= 118  # all but rows too near to a tie
    assert (np.abs(samples.outputs["probabilities"] @ np.array([1, -1])) > 0.5).sum() > 30


def test_rows_nearer_to_a_tie_than_the_tolerance_are_left_out():
    table = make_table(np.arange(4.0).reshape(-1, 1), "model")
    probabilities = np.array([[0.5, 0.5], [0.5001, 0.4999], [0.6, 0.4], [0.9, 0.1]])
    expected = {"label": np.array([0, 0, 0, 0]), "probabilities": probabilities}
    assert choose_rows(table, expected, Tolerance(rtol=0.0, atol=1e-3), most=2).tolist() == [2, 3]


def test_a_column_with_missing_values_always_shows_one():
    values = np.arange(1000.0).reshape(-1, 1)
    values[700] = np.nan
    table = make_table(values, "model")
    assert 700 in choose_rows(table, {"value": np.zeros(1000)}, Tolerance(), most=2)


@pytest.mark.slow
def test_golden_samples_of_large_rows_are_few(tmp_path):
    shape = ["n", 3, 180, 180]
    bundle = pack_graph(
        tmp_path, [node("Relu", ["a"], ["c"])], [value("a", FLOAT, shape)], [value("c", FLOAT, shape)]
    )
    assert 1 <= bundle.samples().rows < 64
    assert (bundle.path / "samples.npz").stat().st_size <= 32 * 2**20 + 4096


@pytest.mark.slow
def test_golden_rows_show_words_of_the_vocabulary_that_no_sample_has(tmp_path):
    texts = ["great food", "rude staff", "lovely caf\u00e9"] * 10
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1] * 10)
    samples = [text for text in texts if text.isascii()]
    bundle = pack(model, name="m", samples=samples, owner=OWNER, to=tmp_path / "b")
    words = " ".join(bundle.samples().inputs["X"].tolist())
    assert "caf\u00e9" in words
    assert "CAF\u00c9" in words
