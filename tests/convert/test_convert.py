"""Conversion: forms of samples, shapes of outputs, ONNX files as they come, and repairs on the way."""

from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
import skl2onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, RobustScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from lading.convert.table import make_table
from lading.errors import ConverterFailed, ParityLost, SamplesRefused
from lading.pack import pack
from lading.runtime.open import load_runtime
from support.sklearn_survey import count_disagreements

OWNER = "ml@example.com"
X, Y = load_iris(return_X_y=True)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


@pytest.fixture
def packed(tmp_path):
    """Save a graph as a file and pack it."""

    def pack_graph(nodes, inputs, outputs, *, weights=(), samples=None, opset=17, ir_version=8, **facts):
        graph = helper.make_graph(nodes, "graph", inputs, outputs, list(weights))
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
        onnx.save(model, tmp_path / "m.onnx")
        facts = {"name": "m", "owner": OWNER, "to": tmp_path / "b", **facts}
        return pack(tmp_path / "m.onnx", samples=samples, **facts)

    return pack_graph


def shown(bundle, side="outputs"):
    return {one.name: str(one) for one in getattr(bundle.manifest.signature, side)}


# --- outputs of scikit-learn ----------------------------------------------------------------------------


def test_a_regressor_gives_one_value_a_row(tmp_path):
    bundle = pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert shown(bundle) == {"value": "float32 [batch]"}


def test_several_targets_are_one_column_each(tmp_path):
    model = LinearRegression().fit(X, np.column_stack([Y, X[:, 0]]))
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert shown(bundle) == {"value": "float32 [batch, 2]"}
    assert count_disagreements(bundle, model, X + 0.05) == 0


@pytest.mark.parametrize(
    "model",
    [MultiOutputClassifier(LogisticRegression(max_iter=1000)), RandomForestClassifier(10, random_state=0)],
)
def test_several_classified_targets_are_batch_target_class(tmp_path, model):
    targets = np.column_stack([Y > 0, Y > 1, X[:, 0] > 6]).astype(int)
    model.fit(X, targets)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b", labels=["no", "yes"])
    assert shown(bundle) == {"label": "int64 [batch, 3]", "probabilities": "float32 [batch, 3, 2]"}
    runtime = load_runtime(bundle)
    found = runtime.run({"X": X.astype(np.float32)})
    runtime.close()
    assert (found["label"] == model.predict(X)).all()
    assert np.allclose(found["probabilities"], np.stack(model.predict_proba(X), axis=1), atol=1e-5)


def test_targets_of_different_classes_are_refused(tmp_path):
    model = MultiOutputClassifier(GaussianNB()).fit(X, np.column_stack([Y, Y > 1]).astype(int))
    with pytest.raises(ConverterFailed, match="the same number of classes") as refusal:
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert refusal.value.hint == "pack one classifier per target"


def test_impure_leaves_of_several_targets_are_refused(tmp_path):
    # skl2onnx 1.20 makes 0 or 1 of such a leaf's shares.
    targets = np.column_stack([Y > 0, X[:, 0] > 6]).astype(int)
    model = DecisionTreeClassifier(max_depth=1).fit(X, targets)
    with pytest.raises(ParityLost, match="output `probabilities`, row"):
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")


def test_labels_of_a_multi_label_model_have_no_class_columns(tmp_path):
    targets = np.column_stack([Y > 0, Y > 1]).astype(int)
    model = OneVsRestClassifier(LogisticRegression()).fit(X, targets)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert shown(bundle)["probabilities"] == "float32 [batch, 2]"
    assert bundle.manifest.signature.outputs[1].columns == ()


@pytest.mark.parametrize(
    ("classes", "dtype", "columns"),
    [
        (np.array(["a", "b", "c"]), "string", ("a", "b", "c")),
        (np.array([10, 20, 30]), "int64", ("10", "20", "30")),
        (np.array([1.0, 2.0, 3.0]), "int64", ("1", "2", "3")),
    ],
)
def test_class_values_keep_their_kind(tmp_path, classes, dtype, columns):
    model = LogisticRegression(max_iter=1000).fit(X, classes[Y])
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    label, probabilities = bundle.manifest.signature.outputs
    assert (label.dtype, probabilities.columns) == (dtype, columns)


def test_boolean_classes_stay_boolean(tmp_path):
    model = LogisticRegression(max_iter=1000).fit(X, Y > 0)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b", labels=["no", "yes"])
    assert shown(bundle)["label"] == "bool [batch]"
    assert bundle.manifest.labels == {"False": "no", "True": "yes"}


def test_two_classes_have_one_signed_score(tmp_path):
    model = SVC().fit(X, Y > 0)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert shown(bundle) == {"label": "bool [batch]", "scores": "float32 [batch]"}
    assert count_disagreements(bundle, model, X + 0.05) == 0


def test_features_are_named_as_the_transformer_names_them(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    bundle = pack(StandardScaler().fit(frame), name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.outputs[0].columns == ("a", "b", "c", "d")


def test_texts_are_one_vector(tmp_path):
    words = np.array(["ship", "crane", "cargo", "port", "tide"])
    texts = [" ".join(row) for row in words[np.random.default_rng(0).integers(0, 5, (80, 6))]]
    late = ["tide" in text for text in texts]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, late)
    bundle = pack(model, name="m", samples=texts, owner=OWNER, to=tmp_path / "b")
    assert shown(bundle, "inputs") == {"X": "string [batch]"}
    assert count_disagreements(bundle, model, np.array(["Cargo on the tide", "a PORT", "", "crane"])) == 0


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_a_search_is_packed_as_what_it_found(tmp_path, search):
    limit = {"n_iter": 1, "random_state": 0} if search is RandomizedSearchCV else {}
    model = search(make_pipeline(StandardScaler(), SVC()), {"svc__C": [1.0, 2.0]}, cv=2, **limit).fit(X, Y)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, X + 0.05) == 0


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_a_vote_is_packed_and_left_as_it_was(tmp_path, voting):
    rows, target = load_breast_cancer(return_X_y=True)
    members = [("line", LogisticRegression(max_iter=1000)), ("bayes", GaussianNB())]
    model = make_pipeline(StandardScaler(), VotingClassifier(members, voting=voting)).fit(rows, target)
    bundle = pack(model, name="m", samples=rows[:300], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[300:]) == 0
    assert model[-1].flatten_transform


def test_histogram_boosting_compares_in_float64_as_it_was_trained(tmp_path):
    rows = np.round(np.random.default_rng(0).uniform(0, 4, (200, 3)), 2)
    model = HistGradientBoostingRegressor(max_iter=8, random_state=0).fit(rows, rows.sum(axis=1))
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert shown(bundle, "inputs") == {"X": "float64 [batch, 3]"}
    typed = np.round(np.random.default_rng(1).uniform(0, 4, (1500, 3)), 3)
    assert count_disagreements(bundle, model, typed) == 0


def test_discriminant_analysis_of_two_classes_keeps_its_odds(tmp_path):
    rows, target = load_breast_cancer(return_X_y=True)
    model = LinearDiscriminantAnalysis().fit(rows, target)
    bundle = pack(model, name="m", samples=rows[:300], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[300:]) == 0


SCALERS = [StandardScaler(), StandardScaler(with_mean=False), RobustScaler(), MaxAbsScaler()]


@pytest.mark.parametrize("scaler", SCALERS)
def test_scaling_is_plain_arithmetic_with_the_bits_of_the_operator_for_it(tmp_path, packed, scaler):
    rows = load_breast_cancer(return_X_y=True)[0]
    bundle = pack(clone(scaler).fit(rows), name="m", samples=rows, owner=OWNER, to=tmp_path / "ours")
    used = {node.op_type for node in onnx.load(bundle.path / "model.onnx").graph.node}
    assert "Scaler" not in used
    assert {"Sub", "Mul"} <= used
    theirs = skl2onnx.to_onnx(clone(scaler).fit(rows), rows[:1].astype(np.float32)).graph
    assert [node.op_type for node in theirs.node] == ["Scaler"]
    other = packed(theirs.node, theirs.input, theirs.output, samples=rows)
    mine, reference = (load_runtime(one) for one in (bundle, other))
    given = rows.astype(np.float32)
    (ours,) = mine.run({"X": given}).values()
    (expected,) = reference.run({"X": given}).values()
    assert ours.tobytes() == expected.tobytes()


@pytest.mark.parametrize("scaler", SCALERS)
def test_whole_numbers_beside_categories_are_scaled(tmp_path, scaler):
    random, rows = np.random.default_rng(0), 300
    columns = {"city": (0, 4), "age": (18, 80), "children": (0, 4)}
    frame = pd.DataFrame({name: random.integers(*span, rows) for name, span in columns.items()})
    city = ("city", OneHotEncoder(handle_unknown="ignore"), ["city"])
    numbers = ("numbers", clone(scaler), ["age", "children"])
    model = make_pipeline(ColumnTransformer([city, numbers]), LogisticRegression())
    model.fit(frame, frame["age"] > 40)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    # That the answers agree is what packing has proved, or it would have refused the model.
    assert set(shown(bundle, "inputs").values()) == {"int64 [batch, 1]"}


def test_a_row_that_is_a_centre_has_a_distance(tmp_path):
    rows = np.vstack([X, [[90.3, 70.7, 80.1, 60.9]]])
    model = KMeans(3, random_state=0, n_init=3).fit(rows)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    runtime = load_runtime(bundle)
    found = runtime.run({"X": rows.astype(bundle.manifest.signature.inputs[0].dtype)})
    runtime.close()
    assert not np.isnan(found["distances"]).any()


def test_a_column_called_like_an_output_is_refused(tmp_path):
    frame = pd.DataFrame({"label": X[:, 0], "kind": np.where(Y > 0, "a", "b")})
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder

    columns = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, Y)
    with pytest.raises(SamplesRefused, match="column `label`"):
        pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")


# --- samples in memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (pd.DataFrame({"day": pd.to_datetime(["2024-01-01"])}), "found `datetime64"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "expected each column once"),
        (np.array([[1, "a"], [2, "b"]], dtype=object), "an array that mixes numbers and texts"),
        (np.array([["a", None]], dtype=object), "found a missing value in row 0"),
        (3.0, "found a single value or none"),
        ([], "expected at least one row, found none"),
    ],
)
def test_samples_that_prove_nothing_are_refused(samples, sentence):
    with pytest.raises(SamplesRefused) as refusal:
        make_table(samples, "SVC")
    assert sentence in refusal.value.message


def test_a_frame_comes_back_with_its_dtypes():
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, 2], dtype="int32"),
            "kind": pd.Categorical(["a", "b"]),
            "flag": [True, False],
            "gap": [1.5, None],
        }
    )
    again = make_table(frame, "SVC").framework_rows()
    pd.testing.assert_frame_equal(again, frame)


# --- ONNX files -----------------------------------------------------------------------------------------


def test_an_open_first_dimension_that_all_inputs_share_is_the_batch(packed):
    bundle = packed(
        [node("Add", ["a", "b"], ["c"])],
        [value("a", FLOAT, ["n", 3]), value("b", FLOAT, ["n", 3])],
        [value("c", FLOAT, ["n", 3])],
    )
    assert shown(bundle, "inputs") == {"a": "float32 [batch, 3]", "b": "float32 [batch, 3]"}
    assert shown(bundle) == {"c": "float32 [batch, 3]"}
    assert bundle.manifest.purpose == "inference"


def test_other_open_dimensions_keep_their_names(packed):
    bundle = packed(
        [node("Relu", ["a"], ["d"])], [value("a", FLOAT, [None, "time"])], [value("d", FLOAT, [None, "time"])]
    )
    assert shown(bundle) == {"d": "float32 [batch, time]"}


def test_first_dimensions_that_differ_are_no_batch(packed):
    bundle = packed(
        [node("MatMul", ["a", "b"], ["c"])],
        [value("a", FLOAT, ["n", "k"]), value("b", FLOAT, ["k", "m"])],
        [value("c", FLOAT, ["n", "m"])],
    )
    assert shown(bundle) == {"c": "float32 [n, m]"}
    assert bundle.samples().rows == 1


def test_a_model_of_one_row_is_packed_as_one_row(packed):
    bundle = packed([node("Relu", ["a"], ["c"])], [value("a", FLOAT, [1, 3])], [value("c", FLOAT, [1, 3])])
    assert shown(bundle, "inputs") == {"a": "float32 [1, 3]"}


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.STRING, "string"),
        (TensorProto.BOOL, "bool"),
        (TensorProto.UINT8, "uint8"),
    ],
)
def test_every_dtype_of_a_signature_is_taken(packed, kind, dtype):
    bundle = packed(
        [node("Identity", ["a"], ["c"])], [value("a", kind, ["n", 2])], [value("c", kind, ["n", 2])]
    )
    assert shown(bundle) == {"c": f"{dtype} [batch, 2]"}


def test_a_dtype_that_no_signature_has_is_refused(packed):
    kind = TensorProto.BFLOAT16
    with pytest.raises(ConverterFailed, match=r"input `a` of `m\.onnx`"):
        packed([node("Identity", ["a"], ["c"])], [value("a", kind, ["n"])], [value("c", kind, ["n"])])


def test_a_sequence_of_tensors_becomes_one_tensor(packed):
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    bundle = packed(
        [node("Neg", ["a"], ["b"]), node("SequenceConstruct", ["a", "b"], ["s"])],
        [value("a", FLOAT, ["n", 3])],
        [sequence],
    )
    assert shown(bundle) == {"s": "float32 [batch, 2, 3]"}


def test_a_sequence_of_unknown_length_is_refused(packed):
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    with pytest.raises(
        ConverterFailed, match="expected a tensor, found a sequence made by `SplitToSequence`"
    ):
        packed([node("SplitToSequence", ["a"], ["s"], axis=1)], [value("a", FLOAT, ["n", 2])], [sequence])


def test_a_classifier_s_two_outputs_are_renamed_even_if_the_name_is_taken_inside(packed):
    bundle = packed(
        [
            node("Identity", ["a"], ["label"]),
            node("ArgMax", ["label"], ["output_label"], axis=1, keepdims=0),
            node("Softmax", ["label"], ["output_probability"]),
        ],
        [value("a", FLOAT, ["n", 3])],
        [value("output_label", INT64, ["n"]), value("output_probability", FLOAT, ["n", 3])],
        labels=["x", "y", "z"],
    )
    assert shown(bundle) == {"label": "int64 [batch]", "probabilities": "float32 [batch, 3]"}
    assert bundle.manifest.purpose == "classification"


def test_outputs_keep_their_names_where_an_input_has_the_other(packed):
    bundle = packed(
        [
            node("ArgMax", ["label"], ["output_label"], axis=1, keepdims=0),
            node("Softmax", ["label"], ["output_probability"]),
        ],
        [value("label", FLOAT, ["n", 3])],
        [value("output_label", INT64, ["n"]), value("output_probability", FLOAT, ["n", 3])],
    )
    assert set(shown(bundle)) == {"output_label", "output_probability"}


def test_initializers_among_the_inputs_of_an_old_model_are_no_inputs(packed):
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    bundle = packed(
        [node("Add", ["a", "w"], ["c"])],
        [value("a", FLOAT, ["n", 2]), value("w", FLOAT, [2])],
        [value("c", FLOAT, ["n", 2])],
        weights=[weight],
        opset=9,
        ir_version=3,
    )
    assert set(shown(bundle, "inputs")) == {"a"}


def test_a_model_of_chance_or_of_the_other_rows_is_refused(packed):
    for nodes in (
        [node("RandomNormalLike", ["a"], ["c"])],
        [node("ReduceMax", ["a"], ["m"], axes=[0], keepdims=1), node("Sub", ["a", "m"], ["c"])],
    ):
        with pytest.raises(ParityLost):
            packed(nodes, [value("a", FLOAT, ["n", 3])], [value("c", FLOAT, ["n", 3])])


@pytest.mark.slow
def test_golden_samples_of_large_rows_stay_small(packed):
    shape = ["n", 3, 180, 180]
    bundle = packed([node("Relu", ["a"], ["c"])], [value("a", FLOAT, shape)], [value("c", FLOAT, shape)])
    assert 1 <= bundle.samples().rows < 64
    assert (bundle.path / "samples.npz").stat().st_size <= 32 * 2**20 + 4096


def test_missing_values_in_the_samples_are_allowed_in_requests(packed):
    rows = np.array([[1.0, np.nan], [2.0, 3.0]])
    bundle = packed(
        [node("Relu", ["a"], ["c"])],
        [value("a", FLOAT, ["n", 2])],
        [value("c", FLOAT, ["n", 2])],
        samples=rows,
    )
    assert bundle.manifest.signature.inputs[0].allows_nan


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (np.ones((4, 5)), "expected `float32 [batch, 3]`, found shape `[4, 5]`"),
        (
            np.array([["1", "2", "3"], ["4", "b", "6"]]),
            "column `X[1]`: expected values of `float32 [batch, 3]`, found the text `b` in row 1",
        ),
        (
            pd.DataFrame({"u": [1, 2], "v": ["3", "four"], "w": [5, 6]}),
            "column `v`: expected values of `float32 [batch, 3]`, found the text `four` in row 1",
        ),
        ({"a": np.array([["1", "2", "?"]])}, "column `a[2]`: expected values of"),
        ({"a": np.ones((2, 3)), "z": np.ones((2, 3))}, "nothing but the inputs, or every output: `c`"),
        ({"y": np.ones((2, 3)), "z": np.ones((2, 3))}, "expected input `a`"),
    ],
)
def test_samples_that_do_not_fit_the_file_are_refused(packed, samples, sentence):
    with pytest.raises(SamplesRefused) as refusal:
        packed(
            [node("Relu", ["a"], ["c"])],
            [value("a", FLOAT, ["n", 3])],
            [value("c", FLOAT, ["n", 3])],
            samples=samples,
        )
    assert sentence in refusal.value.message


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\x08"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ConverterFailed, match="expected an ONNX file"):
        pack(tmp_path / "m.onnx", name="m", owner=OWNER, to=tmp_path / "b")


@pytest.mark.parametrize("ending", ["json", "txt", "onnxtxt", "textproto"])
def test_a_file_is_read_as_onnx_whatever_its_ending(tmp_path, ending):
    (tmp_path / f"label.{ending}").write_text('{"0": "setosa"}')
    with pytest.raises(ConverterFailed) as refusal:
        pack(tmp_path / f"label.{ending}", name="m", owner=OWNER, to=tmp_path / "b")
    assert len(refusal.value.message) < 200
    assert refusal.value.hint == "a model is an .onnx file or `module:object`"


def test_external_data_comes_into_the_file(tmp_path):
    weight = numpy_helper.from_array(np.arange(2000, dtype=np.float32), "w")
    graph = helper.make_graph(
        [node("Add", ["a", "w"], ["c"])],
        "g",
        [value("a", FLOAT, ["n", 2000])],
        [value("c", FLOAT, ["n", 2000])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights", size_threshold=100)
    bundle = pack(tmp_path / "m.onnx", name="m", owner=OWNER, to=tmp_path / "b")
    assert sorted(bundle.manifest.files) == ["model.onnx", "requirements.txt", "samples.npz"]
