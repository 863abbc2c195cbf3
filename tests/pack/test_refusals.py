"""What the refusal of a model says: its reasons, its step, and a way out."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from lading.convert import Plan
from lading.convert.open import open_model
from lading.errors import ConversionError, ConverterFailed, ParityLost
from lading.pack import pack
from lading.pack.parity_search import prove
from lading.pack.probe_rows import gather_probe_rows
from lading.pack.refusals import Attempt, Search, refusal
from support.packed_graphs import FLOAT, node, pack_graph, value
from support.sklearn_models import OWNER, X, Y, offset_pipeline


def search_of(model, rows=X):
    trained = open_model(model)
    return Search(trained, gather_probe_rows(trained, trained.table(rows), lambda _: None), prove)


def refused(model, rows, tmp_path, **facts):
    with pytest.raises(ConversionError) as refusal:
        pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b", **facts)
    return refusal.value


def without_onnx(rows):
    return np.array([[float(str(number)) for number in row] for row in rows])


def test_each_dtype_has_its_own_reason():
    search = search_of(DecisionTreeClassifier().fit(X, Y))
    plans = list(search.trained.plans(search.probe.table, ("float32", "float64")))
    attempts = [
        Attempt(plan, ConverterFailed("`m`", expected="a conversion", found=f"no way in {plan.dtype}"))
        for plan in plans
    ]
    message = refusal(search, attempts, ("float32", "float64")).message
    assert "in float32: no way in float32; in float64: no way in float64" in message


def test_a_dtype_that_lost_parity_and_one_that_failed_are_both_named():
    model, rows = offset_pipeline()
    search = search_of(model, rows)
    plan = next(iter(search.trained.plans(search.probe.table, ("float32",))))
    lost = prove(search.trained, plan, search.probe, None)
    failed = ConverterFailed("`m`", expected="a conversion", found="no float64 operator")
    attempts = [Attempt(plan, lost), Attempt(replace(plan, dtype="float64"), failed)]
    error = refusal(search, attempts, ("float32", "float64"))
    assert isinstance(error, ParityLost)
    assert "became" in error.message
    assert "in float64: no float64 operator" in error.message


def test_the_first_step_that_differs_is_named_with_its_value(tmp_path):
    model, rows = offset_pipeline()
    error = refused(model, rows, tmp_path, dtype="float32")
    assert "the first step that differs is `standardscaler` (StandardScaler): `x0`: " in error.message
    assert "do without that step" in str(error.hint)


@pytest.mark.slow
def test_the_step_that_cannot_be_converted_is_named_with_what_to_do_instead(tmp_path):
    doubled = FunctionTransformer(without_onnx)
    model = make_pipeline(StandardScaler(), doubled, LogisticRegression()).fit(X, Y)
    error = refused(model, X, tmp_path)
    assert "`functiontransformer` (FunctionTransformer)" in error.message
    assert "before" in str(error.hint)


@pytest.mark.slow
def test_a_transformer_of_columns_is_named_within_its_step(tmp_path):
    columns = [("scaled", StandardScaler(), [0, 1]), ("own", FunctionTransformer(without_onnx), [2, 3])]
    model = make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(X, Y)
    error = refused(model, X, tmp_path)
    assert "`columntransformer` (ColumnTransformer), in it `own` (FunctionTransformer)" in error.message


def test_a_column_that_differs_is_named_with_its_transformer(tmp_path):
    _, rows = offset_pipeline()
    columns = [("large", StandardScaler(), [0]), ("small", StandardScaler(), [1])]
    target = np.floor(rows[:, 0]) % 2
    model = make_pipeline(ColumnTransformer(columns), DecisionTreeClassifier()).fit(rows, target)
    error = refused(model, rows, tmp_path, dtype="float32")
    assert "in it `large` (StandardScaler): `large__x0`: " in error.message


@pytest.mark.slow
def test_a_hashing_vectorizer_is_refused_with_the_one_that_packs(tmp_path):
    texts = ["great food", "rude staff"] * 10
    model = make_pipeline(HashingVectorizer(n_features=8), LogisticRegression()).fit(texts, [0, 1] * 10)
    error = refused(model, texts, tmp_path)
    assert "TfidfVectorizer" in str(error.hint)


def test_chance_is_named_only_where_a_second_run_shows_it(tmp_path):
    draws = [node("RandomNormalLike", ["a"], ["c"])]
    with pytest.raises(ConverterFailed, match="the same answer to the same input, found another one"):
        pack_graph(tmp_path, draws, [value("a", FLOAT, ["n", 3])], [value("c", FLOAT, ["n", 3])])


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (
            [node("ReduceMax", ["a"], ["m"], axes=[0], keepdims=1), node("Sub", ["a", "m"], ["c"])],
            "other values in the other rows change it",
        ),
        (
            [
                node("Shape", ["a"], ["n"], end=1),
                node("Cast", ["n"], ["f"], to=FLOAT),
                node("Add", ["a", "f"], ["c"]),
            ],
            "the values of the other rows change nothing, only their number does",
        ),
    ],
    ids=["values", "number"],
)
def test_other_rows_are_blamed_only_if_changing_them_changes_the_answer(tmp_path, nodes, reason):
    sizes = ["n", 3]
    # Whether such a file is packed is not the claim here, but what is said of its rows.
    with contextlib.suppress(ParityLost):
        pack_graph(tmp_path, nodes, [value("a", FLOAT, sizes)], [value("c", FLOAT, sizes)])
    search = search_of(str(tmp_path / "m.onnx"), X[:, :3].astype(np.float32))
    own = next(iter(search.trained.plans(search.probe.table, ("float32",))))

    def convert(table, expected):
        conversion = own.convert(table, expected)
        inputs, outputs = conversion.signature.inputs, conversion.signature.outputs
        return replace(conversion, signature=type(conversion.signature)(inputs, outputs))

    plan = Plan(own.dtype, own.form, convert)
    # Such rows differ in chunks already; what is said of rows that differ alone is the claim here.
    proof = replace(prove(search.trained, plan, search.probe, None), alone=True)
    assert not proof.parity.holds
    assert reason in refusal(search, [Attempt(plan, proof)], ("float32",)).message
