"""The rows on which a conversion is tried."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from lading.convert.open import open_model
from lading.convert.table import make_table
from lading.errors import ParityLost
from lading.pack import pack
from lading.pack.probe_rows import DRAWN_ROWS, MAX_SAMPLES, gather_probe_rows
from support.sklearn_models import OWNER, X, Y, passengers


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


@pytest.mark.parametrize(
    ("encoder", "answers"), [(OneHotEncoder(handle_unknown="ignore"), True), (OrdinalEncoder(), False)]
)
def test_unseen_values_have_an_expected_answer_unless_the_framework_refuses_them(encoder, answers):
    frame, target = passengers()
    columns = ColumnTransformer([("port", encoder, ["port"])])
    trained = open_model(make_pipeline(columns, LogisticRegression()).fit(frame[["port"]], target))
    probe = gather_probe_rows(trained, make_table(frame[["port"]], "model"), lambda _: None)
    (unseen,) = probe.unseen
    assert unseen.title == "an unseen text in column `port`"
    assert (unseen.expected is not None) == answers
