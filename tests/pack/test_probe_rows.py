"""The rows on which a conversion is tried."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from lading.convert.open import open_model
from lading.convert.table import make_table
from lading.errors import ParityLost
from lading.pack import pack
from lading.pack.probe_rows import DRAWN_ROWS, MAX_SAMPLES, gather_probe_rows
from support.sklearn_models import OWNER, X, Y, mixed_pipeline, passengers


def test_parity_is_also_tried_on_rows_drawn_between_the_samples(tmp_path):
    # Halfway between points of a grid two neighbours are equally near, and either may be chosen.
    grid = np.stack(np.meshgrid(np.arange(12) / 2, np.arange(12) / 2), axis=-1).reshape(-1, 2)
    model = KNeighborsRegressor(1).fit(grid, np.arange(len(grid)))
    with pytest.raises(ParityLost, match="drawn row"):
        pack(model, name="m", samples=grid, owner=OWNER, to=tmp_path / "b")


def test_samples_come_first_and_drawn_rows_after_them():
    trained = open_model(LinearRegression().fit(X, Y))
    probe = gather_probe_rows(trained, make_table(X, "model"), lambda _: None)
    assert probe.sample_rows == len(X)
    assert probe.table.rows == len(probe.expected["value"]) == len(X) + DRAWN_ROWS
    samples, expected = probe.samples()
    np.testing.assert_array_equal(samples.arrays["X"], X)
    assert len(expected["value"]) == len(X)


def test_of_many_samples_a_seeded_choice_is_compared():
    rows = np.random.default_rng(0).normal(size=(MAX_SAMPLES + 500, 2))
    trained = open_model(LinearRegression().fit(rows, rows[:, 0]))
    notes: list[str] = []
    probe = gather_probe_rows(trained, make_table(rows, "model"), notes.append)
    assert probe.sample_rows == MAX_SAMPLES
    assert notes == ["20000 of 20500 samples were compared, chosen by a seeded draw"]


def test_unseen_values_that_the_framework_refuses_have_no_expected_answer():
    frame, target = passengers()
    trained = open_model(mixed_pipeline(frame, target))
    probe = gather_probe_rows(trained, make_table(frame, "model"), lambda _: None)
    titles = {unseen.title: unseen.expected is not None for unseen in probe.unseen}
    assert titles["an unseen text in column `port`"]  # the pipeline ignores unknown categories
