"""The profile that packing measures: of what, by which route, and what is said about it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from lading.bundle import Bundle
from lading.errors import InvalidSetting, SamplesRefused
from lading.pack import pack
from lading.pack.profiles import MOST_ANSWERED
from lading.profile.live import LiveCounts
from support.environments import environments  # noqa: F401 - a fixture
from support.packed_graphs import FLOAT, node, pack_graph, value
from support.sklearn_models import OWNER, X, Y, answer, mixed_pipeline, passengers

IRIS = LogisticRegression(max_iter=1000).fit(X, Y)


def packed(model, samples, tmp_path, **options):
    notes = []
    options = {"name": "m", "owner": OWNER, "to": tmp_path / "b", "on_note": notes.append, **options}
    bundle = pack(model, samples=samples, **options)
    return bundle, notes


def column(bundle, name):
    return bundle.profile.column(name)


def test_without_reference_data_the_samples_are_measured_and_a_note_says_so(tmp_path):
    bundle, notes = packed(IRIS, X, tmp_path)
    profile = bundle.profile
    assert profile.source == "samples"
    assert profile.rows == 150
    (note,) = [note for note in notes if "profile" in note]
    assert note.startswith("profile of 150 samples: pass `reference=X_train` (`--reference FILE`)")
    assert bundle.manifest.format == 2
    assert Bundle.open(bundle.path).digest == bundle.digest


def test_reference_data_are_measured_and_so_are_the_answers_to_them(tmp_path):
    reference = np.random.default_rng(0).normal(X.mean(0), X.std(0), (3000, 4))
    bundle, notes = packed(IRIS, X, tmp_path, reference=reference, reference_labels=IRIS.predict(reference))
    profile = bundle.profile
    assert (profile.source, profile.rows, profile.refused) == ("reference", 3000, 0)
    assert not [note for note in notes if "profile" in note]
    assert profile.accuracy == 1
    assert sum(profile.calibration.rows) == 3000
    labels = column(bundle, "label")
    assert labels.counts[2:] == tuple(np.bincount(IRIS.predict(reference)).tolist())
    assert column(bundle, "X[0]").maximum == np.float32(reference[:, 0].max())


def test_live_rows_are_counted_in_the_cells_that_they_had_when_they_were_packed(tmp_path):
    bundle, _ = packed(IRIS, X, tmp_path)
    live = LiveCounts(bundle.profile, bundle.manifest.signature)
    live.add({"X": X.astype(np.float32)}, answer(bundle, X.tolist()), len(X))
    assert live.drain() == tuple(column.counts for column in bundle.profile)


@pytest.mark.slow
def test_a_frame_is_measured_column_by_column_with_its_gaps(tmp_path):
    frame, target = passengers()
    frame.loc[::10, "age"] = np.nan
    model = mixed_pipeline(frame, target)
    bundle, _ = packed(model, frame, tmp_path, reference=frame.assign(y=target), reference_labels="y")
    assert {"age", "fare", "sex", "port"} <= {column.name for column in bundle.profile.inputs}
    assert column(bundle, "age").missing == 24
    assert column(bundle, "sex").values == ("female", "male")
    assert bundle.profile.accuracy == pytest.approx(model.score(frame, target))


@pytest.mark.slow
def test_rows_that_the_model_refuses_are_named_and_left_out(tmp_path):
    reference = np.tile(X, (4, 1))
    reference[[5, 9], 2] = np.nan
    reference[11, 0] = 1e35
    bundle, notes = packed(IRIS, X, tmp_path, reference=reference, reference_labels=np.tile(Y, 4))
    assert bundle.profile.rows == 597
    assert bundle.profile.refused == 3
    assert bundle.profile.labelled == 597
    assert "profile: 3 of 600 rows are left out, which the model refuses (row 5, input `X`: NaN)" in notes
    with pytest.raises(SamplesRefused, match="rows that the model takes, found row 0, input `X`: NaN"):
        packed(IRIS, X, tmp_path / "other", reference=np.full((20, 4), np.nan))
    assert not (tmp_path / "other" / "b").exists()


@pytest.mark.slow
def test_a_category_that_the_model_does_not_know_leaves_its_row_out_of_the_answers(tmp_path):
    frame = pd.DataFrame({"city": ["Oslo", "Rome"] * 40, "size": np.arange(80.0)})
    target = np.arange(80) % 2
    encoder = make_pipeline(OrdinalEncoder(), LogisticRegression())
    model = encoder.fit(frame[["city"]], target)
    reference = pd.DataFrame({"city": ["Oslo", "Bonn", "Rome"] * 20})
    bundle, _ = packed(model, frame[["city"]], tmp_path, reference=reference)
    assert column(bundle, "city").values == ("Bonn", "Oslo", "Rome")
    assert bundle.profile.rows == 60
    assert column(bundle, "label").rows == 40


def test_of_very_many_rows_an_evenly_spaced_part_is_asked(tmp_path, monkeypatch):
    monkeypatch.setitem(MOST_ANSWERED, "reference", 100)
    bundle, notes = packed(IRIS, X, tmp_path, reference=np.tile(X, (2, 1)), reference_labels=np.tile(Y, 2))
    assert bundle.profile.rows == 300
    assert column(bundle, "label").rows == 100
    assert bundle.profile.labelled == 100
    assert "profile: outputs of 100 of 300 rows, evenly spaced" in notes


@pytest.mark.slow
def test_a_model_of_values_is_measured_without_labels(tmp_path):
    model = LinearRegression().fit(X, Y)
    bundle, _ = packed(model, X, tmp_path)
    assert column(bundle, "value").kind == "number"
    assert bundle.profile.calibration is None
    with pytest.raises(InvalidSetting, match="a model that names one class"):
        packed(model, X, tmp_path / "other", reference=X, reference_labels=Y)
    assert not (tmp_path / "other" / "b").exists()


def test_no_profile_is_made_where_none_is_wanted(tmp_path):
    bundle, notes = packed(IRIS, X, tmp_path, profile=False)
    assert bundle.profile is None
    assert bundle.manifest.format == 1
    assert notes == []


@pytest.mark.slow
def test_samples_that_are_not_stored_are_not_measured_either(tmp_path):
    bundle, _ = packed(IRIS, X, tmp_path, golden="synthetic")
    assert bundle.profile is None
    bundle, _ = packed(IRIS, X, tmp_path / "with", golden="synthetic", reference=X)
    assert bundle.profile.rows == 150


@pytest.mark.slow
def test_fewer_than_ten_samples_and_drawn_ones_are_no_reference(tmp_path):
    bundle, _ = packed(IRIS, X[::20], tmp_path)
    assert bundle.profile is None
    inputs, outputs = [value("X", FLOAT, [None, 2])], [value("Y", FLOAT, [None, 2])]
    (tmp_path / "drawn").mkdir()
    nodes = [node("Identity", ["X"], ["Y"])]
    assert pack_graph(tmp_path / "drawn", nodes, inputs, outputs).profile is None


@pytest.mark.slow
def test_packing_twice_gives_the_same_profile(tmp_path):
    first, _ = packed(IRIS, X, tmp_path / "first")
    second, _ = packed(IRIS, X, tmp_path / "second")
    assert first.digest == second.digest


SIGN = """
import numpy as np


def predict(a, n):
    return {"label": np.where(a > 0, "yes", "no").astype(object)}
"""
LOGARITHM = """
import numpy as np

import lading


class Logarithm(lading.Model):
    def preprocess(self, inputs):
        return {"X": np.log(inputs["X"])}
"""


@pytest.mark.slow
@pytest.mark.usefixtures("environments")
def test_a_model_in_python_is_measured_in_its_environment(tmp_path, module):
    random = np.random.default_rng(0)
    rows = {"a": random.normal(size=400), "n": random.integers(0, 4, 400)}
    samples = {name: values[:40] for name, values in rows.items()}
    labels = np.where(rows["a"] > 0.1, "yes", "no")
    model = module("sign", SIGN).predict
    bundle, _ = packed(model, samples, tmp_path, reference=rows, reference_labels=labels)
    profile = bundle.profile
    assert profile.source == "reference"
    assert profile.rows == 400
    assert column(bundle, "n").values == (0.0, 1.0, 2.0, 3.0)
    assert column(bundle, "label").values == ("no", "yes")
    assert profile.accuracy == 1 - ((rows["a"] > 0) & (rows["a"] <= 0.1)).mean()


@pytest.mark.slow
@pytest.mark.usefixtures("environments")
def test_what_callers_send_is_measured_and_not_what_a_step_makes_of_it(tmp_path, module):
    rows = np.exp(np.random.default_rng(0).normal(size=(200, 2)))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(np.log(rows), rows[:, 0] > 1)
    bundle, _ = packed(model, rows, tmp_path, steps=module("logarithm", LOGARITHM).Logarithm)
    assert column(bundle, "X[0]").minimum == rows[:, 0].min()
    assert column(bundle, "X[0]").maximum == rows[:, 0].max()
    assert column(bundle, "label").rows == 200
