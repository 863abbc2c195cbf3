"""The conversion that is packed: the first that answers as the framework does, or none."""

from __future__ import annotations

import numpy as np
import pytest
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler

from lading.convert.sklearn import SklearnModel
from lading.errors import ConversionError, ConverterFailed, ParityLost
from lading.pack import pack
from lading.pack.parity_search import near_ties, usual_tolerance
from lading.parity import Tolerance
from support.packed_graphs import FLOAT, node, pack_graph, value
from support.sklearn_models import OWNER, X, Y, offset_pipeline, passengers
from support.sklearn_survey import count_disagreements


@pytest.mark.slow
def test_a_pipeline_that_needs_float64_is_packed_in_float64_and_says_so(tmp_path):
    model, rows = offset_pipeline()
    notes = []
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b", on_note=notes.append)
    assert bundle.manifest.signature.inputs[0].dtype == "float64"
    assert len(notes) == 2
    assert notes[0].startswith("parity does not hold in float32")
    assert "packed in float64" in notes[0]
    random = np.random.default_rng(1)
    others = np.column_stack([1.7e9 + random.random(500) * 1000, random.random(500)])
    assert count_disagreements(bundle, model, others) == 0


@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 50])
def test_a_sample_that_float32_does_not_hold_is_packed_in_float64(tmp_path, row):
    rows = np.random.default_rng(5).normal(size=(80, 2))
    labels = (rows[:, 0] > 0).astype(int)
    rows[row, 1] = 1e300
    model = make_pipeline(FunctionTransformer(np.arctan), LogisticRegression()).fit(rows, labels)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b", on_note=print)
    assert bundle.manifest.signature.inputs[0].dtype == "float64"
    assert count_disagreements(bundle, model, rows[rows[:, 1] < 1e30]) == 0


@pytest.mark.slow
def test_a_dtype_that_cannot_be_converted_at_all_is_noted(tmp_path, monkeypatch):
    # No estimator at hand fails in float32 alone: what skl2onnx makes of these inputs is broken here.
    whole = skl2onnx.convert_sklearn

    def broken(model, **options):
        if isinstance(options["initial_types"][0][1], FloatTensorType):
            raise ConverterFailed("`m`", expected="a converter", found="no operator for float32")
        return whole(model, **options)

    monkeypatch.setattr(skl2onnx, "convert_sklearn", broken)
    notes = []
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b", on_note=notes.append)
    assert notes[:-1] == ["it cannot be converted in float32 (no operator for float32); packed in float64"]
    assert notes[-1].startswith("profile of 150 samples")


def test_lost_parity_is_refused_with_the_rows_that_show_it(tmp_path):
    model, rows = offset_pipeline()
    with pytest.raises(ParityLost) as refusal:
        pack(model, name="m", samples=rows, owner=OWNER, dtype="float32", to=tmp_path / "b")
    message = refusal.value.message
    assert message.startswith(
        "`Pipeline(StandardScaler, DecisionTreeClassifier)` in float32: expected the answers of scikit-learn"
    )
    assert "output `probabilities`, row " in message
    assert "became" in message
    assert "float64" in (refusal.value.hint or "")
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_rows_on_the_thresholds_of_a_scaled_forest_agree(tmp_path):
    model = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(X, Y)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    halfway = (X[:-1] + X[1:]) / 2
    assert count_disagreements(bundle, model, halfway) == 0


@pytest.mark.slow
def test_a_forest_whose_rows_alone_fall_the_other_way_in_a_tie_is_packed(tmp_path):
    rows, target = make_classification(1000, 6, n_informative=4, flip_y=0.3, random_state=7)
    model = RandomForestClassifier(20, random_state=7).fit(rows[:500], target[:500])
    bundle = pack(model, name="m", samples=rows[500:], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[:500]) == 0


def test_a_tolerance_is_kept_as_passed(tmp_path):
    bundle = pack(
        LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, tolerance=0.01, to=tmp_path / "b"
    )
    assert bundle.manifest.tolerance == Tolerance(rtol=0.01, atol=0.01)


@pytest.mark.slow
def test_the_usual_tolerance_follows_the_size_of_the_values(tmp_path):
    small = pack(LinearRegression().fit(X, Y * 1e-6), name="m", samples=X, owner=OWNER, to=tmp_path / "s")
    large = pack(LinearRegression().fit(X, Y * 1e6), name="m", samples=X, owner=OWNER, to=tmp_path / "l")
    assert small.manifest.tolerance.atol == 1e-10
    assert large.manifest.tolerance.atol == 100.0


@pytest.mark.slow
def test_an_unseen_text_that_the_framework_refuses_is_refused_by_the_packed_model_too(tmp_path):
    frame, target = passengers()
    encode = ColumnTransformer([("port", OrdinalEncoder(), ["port"])], remainder="drop")
    model = make_pipeline(encode, LogisticRegression()).fit(frame, target)
    notes = []
    pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b", on_note=notes.append)
    assert not [note for note in notes if "port" in note]


def test_an_unseen_number_that_only_the_framework_refuses_is_noted(tmp_path):
    zones = np.arange(60).reshape(-1, 1) % 4
    model = LinearRegression().fit(zones, zones[:, 0])
    answer = model.predict

    def predict(rows):
        if (rows > 3).any():
            raise ValueError("there is no such zone")
        return answer(rows)

    model.predict = predict
    notes = []
    pack(model, name="m", samples=zones, owner=OWNER, to=tmp_path / "b", on_note=notes.append)
    assert [note for note in notes if note.startswith("an unseen number in column `X`")]


def test_a_model_that_draws_numbers_is_refused_and_one_that_mixes_rows_is_never_merged(tmp_path):
    io = [value("a", FLOAT, ["n", 3])], [value("c", FLOAT, ["n", 3])]
    with pytest.raises(ConversionError):
        pack_graph(tmp_path, [node("RandomNormalLike", ["a"], ["c"])], *io)
    nodes = [node("ReduceMax", ["a"], ["m"], axes=[0], keepdims=1), node("Sub", ["a", "m"], ["c"])]
    assert not pack_graph(tmp_path, nodes, *io).manifest.signature.independent_rows


def test_the_usual_tolerance_ignores_columns_that_are_noise_beside_the_largest():
    values = np.column_stack([np.full(10, 1e6), np.full(10, 1e-9)])
    assert usual_tolerance({"value": values}) == Tolerance(rtol=1e-4, atol=1e-5)
    assert usual_tolerance({"label": np.array([1, 2])}) == Tolerance(rtol=1e-4, atol=1e-5)


def test_a_label_may_differ_only_in_a_near_tie():
    expected = {"label": np.zeros(100, int), "probabilities": np.tile([0.9, 0.1], (100, 1))}
    expected["probabilities"][3] = [0.500001, 0.499999]
    answers = {**expected, "label": expected["label"].copy()}
    answers["label"][[3, 7]] = 1
    assert np.flatnonzero(near_ties(expected, answers, Tolerance())).tolist() == [3]


@pytest.mark.parametrize(("clear", "excused"), [(0, False), (20, False), (50, True), (90, True)])
def test_ties_are_excused_if_as_many_other_rows_show_the_right_label(clear, excused):
    expected = {"label": np.zeros(100, int), "probabilities": np.full((100, 2), 0.5)}
    expected["probabilities"][:clear] = [0.8, 0.2]
    answers = {**expected, "label": (np.arange(100) >= clear).astype(int)}
    assert near_ties(expected, answers, Tolerance()).sum() == (100 - clear) * excused
    answers["label"][0] = 1  # no tie, if any row is clear
    assert not near_ties(expected, answers, Tolerance())[:clear].any()


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "kind", [RandomForestClassifier, ExtraTreesClassifier, BaggingClassifier], ids=lambda kind: kind.__name__
)
def test_forests_full_of_ties_are_packed_whatever_the_number_of_trees(tmp_path, kind, classes):
    for trees in (2, 5, 8, 20):
        random = np.random.default_rng(trees)
        rows = random.integers(0, 4, (300, 5)).astype(np.float32)
        noise = random.random(300) < 0.5
        target = np.where(noise, random.integers(0, classes, 300), rows[:, 0] % classes).astype(int)
        model = kind(n_estimators=trees, random_state=0).fit(rows, target)
        bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / str(trees))
        others = np.random.default_rng(99).integers(0, 4, (1000, 5)).astype(np.float32)
        assert count_disagreements(bundle, model, others) == 0


def test_labels_that_are_wrong_where_there_is_no_tie_are_refused(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).integers(0, 4, (300, 5)).astype(np.float32)
    model = RandomForestClassifier(8, random_state=0).fit(rows, rows[:, 0] % 2)
    honest = SklearnModel.outputs

    def mistaken(self, table):
        answers = honest(self, table)
        top = answers["probabilities"].max(axis=1)
        at = np.flatnonzero((top > 0.6) & (top < 0.9))[:1]
        answers["label"][at] = 1 - answers["label"][at]
        return answers

    monkeypatch.setattr(SklearnModel, "outputs", mistaken)  # no converter at hand makes this mistake
    with pytest.raises(ParityLost, match="output `label`"):
        pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
