"""Imputers that learn from other columns: parity with scikit-learn, or a refusal that says why."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # until it is imported, there is none
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from lading.errors import ConverterFailed, ValueRefused
from lading.pack import pack
from support.sklearn_categories import served_features
from support.sklearn_models import OWNER
from support.sklearn_survey import count_disagreements


def measured(rows: int, *, missing: float = 0.2):
    random = np.random.default_rng(0)
    numbers = random.normal(size=(rows, 4))  # no two rows are equally far from a third
    numbers[random.random(numbers.shape) < missing] = np.nan
    return numbers


IMPUTERS = [
    KNNImputer(),
    KNNImputer(weights="distance", n_neighbors=3),
    KNNImputer(n_neighbors=1, add_indicator=True),
    KNNImputer(keep_empty_features=True),
    IterativeImputer(random_state=0),
    IterativeImputer(Ridge(), add_indicator=True, n_nearest_features=2, max_iter=3, random_state=0),
    IterativeImputer(min_value=-0.5, max_value=0.5, random_state=0),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*(Skipping features|Early stopping)")
@pytest.mark.parametrize("empty", [False, True], ids=["every column has values", "one column is empty"])
@pytest.mark.parametrize("imputer", IMPUTERS, ids=repr)
def test_a_learned_imputer_answers_as_it_does_itself(tmp_path, imputer, empty):
    rows = measured(240)
    rows[:, 1] = np.nan if empty else rows[:, 1]
    imputer.fit(rows[:120])
    bundle = pack(imputer, name="m", samples=rows[:120], owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(served_features(bundle, rows), imputer.transform(rows), rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_a_row_without_any_value_gets_the_means(tmp_path):
    rows = measured(120)
    imputer = KNNImputer().fit(rows)
    bundle = pack(imputer, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    nothing = np.full((1, 4), np.nan)
    np.testing.assert_allclose(served_features(bundle, nothing), [np.nanmean(rows, axis=0)], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("last", [LogisticRegression(), RandomForestClassifier(8, random_state=0)], ids=repr)
@pytest.mark.parametrize("imputer", [KNNImputer(), IterativeImputer(random_state=0)], ids=repr)
def test_models_behind_a_learned_imputer_are_packed(tmp_path, imputer, last):
    rows = measured(240)
    target = (np.nan_to_num(rows).sum(axis=1) > 0).astype(int)
    model = make_pipeline(imputer, StandardScaler(), last).fit(rows[:160], target[:160])
    bundle = pack(model, name="m", samples=rows[:160], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[160:]) == 0


@pytest.mark.slow
def test_neighbours_at_equal_distances_in_many_samples_are_refused_with_the_way_out(tmp_path):
    rows = measured(150).round(0)
    target = np.arange(150) % 2
    model = make_pipeline(KNNImputer(n_neighbors=2), LogisticRegression()).fit(rows, target)
    with pytest.raises(ConverterFailed, match="at most 5% of the samples") as refused:
        pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert "use IterativeImputer or SimpleImputer" in str(refused.value)


def tied():
    """Return rows of training of which two are equally far from `(0, NaN)`, and the row itself."""
    rows = measured(120, missing=0)[:, :2] + 5
    rows[:2] = [[1.0, 10.0], [-1.0, 20.0]]
    return rows, np.array([[0.0, np.nan]])


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_a_row_whose_nearest_rows_are_equally_far_is_refused(tmp_path, weights):
    # Which of them numpy's partition puts first depends on the processor.
    rows, between = tied()
    samples = np.concatenate([rows, [[6.1234, np.nan]]])
    imputer = KNNImputer(n_neighbors=1, weights=weights).fit(rows)
    bundle = pack(imputer, name="m", samples=samples, owner=OWNER, to=tmp_path / "b")
    with pytest.raises(ValueRefused, match="that their distance distinguishes"):
        served_features(bundle, between)
    near = between + np.array([1e-6, 0])
    np.testing.assert_allclose(served_features(bundle, near), imputer.transform(near), rtol=1e-5)


@pytest.mark.slow
def test_of_equally_far_rows_with_one_value_any_will_do(tmp_path):
    rows, between = tied()
    rows[:2, 1] = 15.0
    imputer = KNNImputer(n_neighbors=1).fit(rows)
    samples = np.concatenate([rows, [[6.1234, np.nan]]])
    bundle = pack(imputer, name="m", samples=samples, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(served_features(bundle, between), [[0, 15]], atol=1e-6)


@pytest.mark.slow
def test_samples_that_are_refused_are_left_out_and_counted(tmp_path):
    rows, between = tied()
    samples = np.concatenate([rows, [[6.1234, np.nan]], between])
    notes: list[str] = []
    imputer = KNNImputer(n_neighbors=1).fit(rows)
    bundle = pack(imputer, name="m", samples=samples, owner=OWNER, to=tmp_path / "b", on_note=notes.append)
    assert notes[0].startswith("1 sample was left out")
    (golden,) = bundle.samples().inputs.values()
    assert not (np.isnan(golden[:, 1]) & (golden[:, 0] == 0)).any()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Early stopping")
@pytest.mark.parametrize(
    ("imputer", "reason", "hint"),
    [
        (IterativeImputer(DecisionTreeRegressor()), "found `DecisionTreeRegressor`", "KNNImputer"),
        (IterativeImputer(sample_posterior=True), "same answer each time", "sample_posterior=False"),
        (IterativeImputer(min_value=[-9, -9, -9, -9]), "that are numbers", "clip the columns before"),
        (
            KNNImputer(weights=lambda distances: 1 / (distances + 1)),
            "a function",
            "fit with weights='uniform'",
        ),
    ],
    ids=["trees", "a posterior", "limits by column", "a function"],
)
def test_what_cannot_be_a_graph_is_refused_with_the_way_out(tmp_path, imputer, reason, hint):
    rows = measured(80)
    with pytest.raises(ConverterFailed, match=reason) as refused:
        pack(imputer.fit(rows), name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert hint in str(refused.value)
