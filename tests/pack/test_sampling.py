"""Rows drawn from samples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lading.convert.table import make_table
from lading.errors import SamplesRefused
from lading.pack import pack, sampling
from support.sklearn_models import OWNER, mixed_pipeline, passengers


def numbers():
    random = np.random.default_rng(1)
    return make_table(np.column_stack([random.normal(size=50), random.integers(0, 90, 50)]), "model")


def test_rows_between_the_samples_stay_within_their_columns_and_keep_whole_numbers():
    table = numbers()
    samples, drawn = table.arrays["X"], sampling.between(table, 500).arrays["X"]  # [rows, 2]
    assert drawn.shape == (500, 2)
    assert (drawn.min(axis=0) >= samples.min(axis=0)).all()
    assert (drawn.max(axis=0) <= samples.max(axis=0)).all()
    assert (drawn[:, 1] == np.round(drawn[:, 1])).all()
    assert not np.isin(drawn[:, 0], samples[:, 0]).all()


def test_recombined_rows_have_values_of_samples_only():
    table = numbers()
    samples, drawn = table.arrays["X"], sampling.recombined(table, 500).arrays["X"]
    assert all(np.isin(drawn[:, at], samples[:, at]).all() for at in range(2))
    assert len(np.unique(drawn, axis=0)) > len(samples)


@pytest.mark.parametrize("draw", [sampling.between, sampling.recombined])
def test_the_same_samples_give_the_same_rows(draw):
    np.testing.assert_array_equal(draw(numbers(), 20).arrays["X"], draw(numbers(), 20).arrays["X"])


def test_unseen_values_are_a_text_another_number_and_a_fraction():
    frame, _ = passengers()
    frame = frame[["port", "fare"]].assign(zone=np.arange(len(frame)) % 4)
    drawn = dict(sampling.unseen(make_table(frame, "model")))
    assert list(drawn) == [
        "an unseen text in column `port`",
        "an unseen number in column `zone`",
        "a fraction in column `zone`",
    ]
    assert set(drawn["an unseen text in column `port`"].arrays["port"]) == {sampling.UNSEEN_TEXT}
    assert set(drawn["an unseen number in column `zone`"].arrays["zone"]) == {4}
    assert set(drawn["a fraction in column `zone`"].arrays["zone"]) == {0.5}


@pytest.mark.slow
def test_synthetic_golden_rows_are_not_samples(tmp_path):
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 3))
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, golden="synthetic", to=tmp_path / "b")
    sample_values = set(rows.astype(np.float32).ravel().tolist())
    kept = bundle.samples().inputs["X"]
    assert len(kept) == 256
    assert not sample_values & set(kept.ravel().tolist())


@pytest.mark.slow
def test_synthetic_texts_are_categories_that_repeat(tmp_path):
    frame, target = passengers()
    frame.loc[0, "port"] = "a port named once"
    model = mixed_pipeline(frame, target)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, golden="synthetic", to=tmp_path / "b")
    assert set(bundle.samples().inputs["port"].ravel()) == {"S", "C", "Q"}


@pytest.mark.slow
def test_texts_that_occur_once_are_not_disclosed(tmp_path):
    frame, target = passengers()
    frame["port"] = [f"name{at}" for at in range(len(frame))]
    model = mixed_pipeline(frame, target)
    with pytest.raises(SamplesRefused, match="categories that repeat"):
        pack(model, name="m", samples=frame, owner=OWNER, golden="synthetic", to=tmp_path / "b")
