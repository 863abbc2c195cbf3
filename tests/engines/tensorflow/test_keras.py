"""Keras models: packed, and asked rows that packing never saw; what they are refused for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

import lading.convert
from lading.convert import tf_export
from lading.convert.open import open_model
from lading.errors import ConverterFailed, ExtraMissing, InvalidSetting, SamplesRefused
from lading.pack import pack
from support.keras_models import IMAGES, SERIES, TABLE, Case, keras_cases
from support.sklearn_models import OWNER
from support.tensor_asking import ask

CASES = dict(keras_cases())
# The others are slow: eager recurrent layers take seconds for the rows of a proof.
FAST = (
    "Sequential, dense",
    "Embedding and pooling, open length",
    "several outputs, in a list",
    "CategoryEncoding and Discretization",
)
REFUSED = {"mixed_float16"}


def cases():
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


def packed(model, samples, folder, notes=None, **settings):
    to = folder / f"b{len(list(folder.iterdir()))}"
    note = None if notes is None else notes.append
    return pack(model, name="m", samples=samples, owner=OWNER, to=to, on_note=note, **settings)


def model_of(call, shape=(6,), dtype="float32"):
    """Return a functional model of one input `x`."""
    x = keras.Input(shape, dtype=dtype, name="x")
    return keras.Model(x, call(x), name="net")


class Noise(layers.Layer):
    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x))


class Counter(layers.Layer):
    def build(self, input_shape):  # noqa: ARG002 - the name is Keras'
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x):
        self.calls.assign_add(1.0)
        return x + self.calls


class Centred(layers.Layer):
    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)


class MeanOfTen(layers.Layer):
    """Divides by the length where it is known, and by 10 where a graph leaves it open."""

    def call(self, x):
        return keras.ops.sum(x, axis=1) / (x.shape[1] or 10)


class Inverse(layers.Layer):
    def call(self, x):
        return keras.ops.erfinv(keras.ops.tanh(x))


@pytest.mark.parametrize("name", cases())
def test_a_bundle_answers_unseen_rows_as_keras_does(tmp_path, name):
    case: Case = CASES[name]()
    if name in REFUSED:
        with pytest.raises(Exception, match="rtol"):
            packed(case.model, case.samples, tmp_path)
        return
    bundle = packed(case.model, case.samples, tmp_path)
    asked = ask(bundle, case.answer, case.kinds())
    assert (asked.silent, asked.refused, asked.examples) == (0, 0, [])
    assert asked.rows >= 160


def dense(seed: int = 0):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, "gelu"), layers.Dense(2)])
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(size=array.shape) for array in model.get_weights()])
    return model


def test_a_model_that_is_built_and_packed_again_has_the_same_bytes(tmp_path):
    first = packed(dense(), TABLE[:50], tmp_path)
    second = packed(dense(), TABLE[:50], tmp_path)
    assert first.digest == second.digest
    content = (first.path / "model.onnx").read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content


@pytest.mark.slow
def test_another_process_with_another_hash_seed_writes_the_same_bytes(tmp_path):
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "import numpy as np, keras\nfrom keras import layers\nfrom lading.pack import pack\n"
        "m = keras.Sequential([keras.Input((None, 3)), layers.Bidirectional(layers.LSTM(3))])\n"
        "r = np.random.default_rng(0)\n"
        "m.set_weights([r.normal(size=a.shape) for a in m.get_weights()])\n"
        "x = r.normal(size=(20, 5, 3)).astype('float32')\n"
        "print(pack(m, name='m', samples=x, owner='a@example.com', to=sys.argv[1]).digest)\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_packing_leaves_the_model_as_it_was_and_prints_nothing(tmp_path, capfd):
    case = CASES["Sequential, dense"]()
    weights, answers = case.model.get_weights(), case.answer(case.rows)
    capfd.readouterr()
    packed(case.model, case.samples, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert all(np.array_equal(old, new) for old, new in zip(weights, case.model.get_weights(), strict=True))
    assert np.array_equal(case.answer(case.rows)["value"], answers["value"])
    assert case.model.trainable
    case.model.fit(TABLE, np.zeros((len(TABLE), 3)), verbose=0)


def test_the_winning_route_is_noted_and_another_is_taken_where_the_first_fails(tmp_path, monkeypatch):
    notes = []
    monkeypatch.setattr(tf_export, "OPSETS", (999, 15))
    packed(dense(), TABLE[:50], tmp_path, notes)
    assert any("(opset 15)" in note for note in notes), notes
    notes.clear()
    monkeypatch.setattr(tf_export, "OPSETS", (999,))
    packed(dense(), TABLE[:50], tmp_path, notes)
    assert any("keras" in note and "export" in note for note in notes), notes


@pytest.mark.parametrize(
    ("layer", "shape", "dtype", "samples", "where", "found"),
    [
        (
            lambda: layers.StringLookup(vocabulary=["a"], name="words"),
            (1,),
            "string",
            [["a"]],
            "words",
            "StringLookup",
        ),
        (
            lambda: layers.TextVectorization(name="text"),
            (1,),
            "string",
            [["a b"]],
            "text",
            "TextVectorization",
        ),
        (lambda: Inverse(name="inverse"), (6,), "float32", TABLE, "inverse", "Erfinv"),
        (lambda: layers.Hashing(4, name="hash"), (1,), "int64", [[1], [2]], "hash", "StringToHashBucketFast"),
    ],
)
def test_a_layer_that_onnx_cannot_hold_is_named(tmp_path, layer, shape, dtype, samples, where, found):
    made = layer()
    if isinstance(made, layers.TextVectorization):
        made.adapt(["a b"])
    with pytest.raises(ConverterFailed, match=f"layer `{where}` of `net`.*{found}") as caught:
        packed(model_of(made, shape, dtype), np.array(samples), tmp_path)
    assert caught.value.hint


def test_random_answers_are_refused(tmp_path):
    with pytest.raises(ConverterFailed, match="another one the second time"):
        packed(model_of(Noise()), TABLE, tmp_path)


def test_a_state_that_changes_with_each_call_is_refused_and_put_back(tmp_path):
    model = model_of(Counter(name="counter"))
    with pytest.raises(ConverterFailed, match="`counter/calls` of `net`"):
        packed(model, TABLE, tmp_path)
    assert float(model.get_layer("counter").calls.value) == 0.0
    x = keras.Input(batch_shape=(4, 10, 3))
    with pytest.raises(ConverterFailed, match=r"layer `memory`.*`stateful=True`"):
        packed(keras.Model(x, layers.LSTM(2, stateful=True, name="memory")(x)), SERIES, tmp_path)


def test_rows_that_depend_on_each_other_are_never_merged(tmp_path):
    notes = []
    bundle = packed(model_of(Centred()), TABLE, tmp_path, notes)
    assert not bundle.manifest.signature.independent_rows
    assert any("never merged" in note for note in notes)


def test_a_length_that_the_export_fixes_is_fixed_in_the_signature(tmp_path):
    notes = []
    bundle = packed(model_of(MeanOfTen(), (None, 3)), SERIES, tmp_path, notes)
    assert bundle.manifest.signature.inputs[0].shape == ("batch", 10, 3)
    assert "axis 1 of `x` is fixed at 10 as in the samples: other sizes are not proved" in notes


def test_sizes_that_only_change_together_have_one_name(tmp_path):
    left, right = keras.Input((None, 3), name="left"), keras.Input((None, 3), name="right")
    joined = layers.GlobalAveragePooling1D()(layers.Concatenate()([left, right]))
    bundle = packed(keras.Model([left, right], joined), [SERIES, SERIES + 1], tmp_path)
    first, second = bundle.manifest.signature.inputs
    assert first.shape == second.shape == ("batch", "left_1", 3)


def test_both_sizes_of_an_image_may_be_open(tmp_path):
    layer = layers.Conv2D(2, 3, strides=2, padding="same")
    model = model_of(layer, (None, None, 3))
    bundle = packed(model, IMAGES[:40], tmp_path)
    wide = np.concatenate([IMAGES[:2], IMAGES[2:4]], axis=2)
    answer = np.array(bundle.predict({"x": wide}).values)
    assert np.allclose(answer, np.asarray(model(wide)), atol=1e-5)


def test_samples_may_be_by_name_in_order_or_a_data_frame(tmp_path):
    model = CASES["Functional, two inputs"]().model
    named = {"series": SERIES[:60], "table": TABLE[:60]}
    digests = {
        packed(model, samples, tmp_path).digest
        for samples in (named, [TABLE[:60], SERIES[:60]], (TABLE[:60], SERIES[:60]))
    }
    assert len(digests) == 1
    frame = pd.DataFrame(TABLE[:60], columns=list("abcdef"))
    bundle = packed(dense(), frame, tmp_path)
    assert bundle.manifest.signature.inputs[0].columns == tuple("abcdef")
    by_column = model_of(lambda x: x * 2, (1,))
    assert packed(by_column, pd.DataFrame({"x": TABLE[:60, 0], "y": "no input"}), tmp_path)


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (None, "found none"),
        ({"y": TABLE, "z": TABLE}, "`x`, found `y`, `z`"),
        (TABLE[:, :5], r"`float32 \[batch, 6\]`, found shape"),
        (np.array([["a"] * 6]), "found"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path, samples, found):
    with pytest.raises(SamplesRefused, match=found):
        packed(model_of(layers.Dense(2)), samples, tmp_path)


def test_missing_values_are_allowed_where_samples_show_them(tmp_path):
    def filled(x):
        return layers.Dense(2)(keras.ops.where(keras.ops.isnan(x), 0.0, x))

    samples = np.where(np.arange(6) == 2, np.nan, TABLE).astype(np.float32)
    tensor = packed(model_of(filled), samples, tmp_path).manifest.signature.inputs[0]
    assert tensor.allows_nan
    assert not packed(model_of(filled), TABLE, tmp_path).manifest.signature.inputs[0].allows_nan


def test_a_branch_that_is_not_taken_adds_no_nan(tmp_path):
    # tf2onnx multiplies both branches by 0 and 1 of its own accord, and 0 times NaN is NaN.
    model = model_of(lambda x: keras.ops.where(x > 0.5, keras.ops.log(x), -1.0))
    bundle = packed(model, np.abs(TABLE) + 0.6, tmp_path)
    answer = np.array(bundle.predict(-np.ones((2, 6), dtype=np.float32)).values)
    assert (answer == -1).all()


@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        (lambda x: keras.ops.floor_divide(x, 3), "int32"),
        (lambda x: keras.ops.mod(x, 3), "int32"),
        (lambda x: keras.ops.mod(x, 3.0), "float32"),
        (lambda x: keras.ops.one_hot(x[:, 0], 5), "int32"),
        (layers.Embedding(5, 2), "int32"),
        (layers.CategoryEncoding(5, "one_hot"), "int32"),
        (layers.Discretization([0.1, 1.5]), "float32"),
        (lambda x: keras.ops.gelu(x, approximate=False), "float32"),
    ],
    ids=["floor_divide", "mod", "mod of floats", "one_hot", "Embedding", "encoding", "bins", "gelu"],
)
def test_values_beyond_those_of_the_samples_are_answered_as_by_keras_or_refused(tmp_path, call, dtype):
    model = model_of(call, (1,), dtype)
    bundle = packed(model, (np.arange(20) % 5).reshape(-1, 1).astype(dtype), tmp_path)
    rows = np.array([[-1], [-2], [-6], [7], [100], [20_000_003]]).astype(dtype)

    def answer(part):
        return {"value": np.asarray(model(part["x"], training=False))}

    asked = ask(bundle, answer, [(str(row), {"x": row[None]}) for row in rows])
    assert (asked.silent, asked.refused, asked.examples) == (0, 0, [])
    assert asked.rows == 6


def test_a_label_of_argmax_packs(tmp_path):
    model = model_of(lambda x: {"label": keras.ops.argmax(x, 1), "probabilities": keras.ops.softmax(x)})
    samples = np.where(TABLE > 0.5, TABLE, -0.0 * TABLE)
    bundle = packed(model, samples, tmp_path, labels=list("abcdef"))
    assert [tensor.name for tensor in bundle.manifest.signature.outputs] == ["label", "probabilities"]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (lambda: keras.Sequential([layers.Dense(2)]), "one without weights"),
        (lambda: layers.Dense(2), "a part of one"),
    ],
)
def test_what_is_no_trained_model_is_refused(model, found):
    with pytest.raises(ConverterFailed, match=found):
        open_model(model())


def test_another_backend_is_refused_with_the_way_out(monkeypatch):
    # A process has one backend: another would take an environment of its own.
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ConverterFailed, match="found `jax`") as caught:
        open_model(dense())
    assert "KERAS_BACKEND=tensorflow" in caught.value.hint


def test_a_batch_axis_is_for_onnx_files(tmp_path):
    with pytest.raises(InvalidSetting, match="batch_axis"):
        packed(dense(), TABLE, tmp_path, batch_axis="none")


def test_a_missing_exporter_is_named_with_its_extra(monkeypatch):
    for name in ("keras", "tf_export"):
        monkeypatch.delitem(sys.modules, f"lading.convert.{name}", raising=False)
        monkeypatch.delattr(lading.convert, name, raising=False)
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ExtraMissing, match="tf2onnx") as caught:
        open_model(dense())
    assert "lading-ml[keras]" in caught.value.hint


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what Keras does with arrays as it saves them
def test_a_keras_file_packs_from_the_command_line(tmp_path):
    dense().save(tmp_path / "model.keras")
    np.save(tmp_path / "rows.npy", TABLE[:50])
    command = ["pack", "model.keras", "--name", "m", "--owner", OWNER, "--samples", "rows.npy", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "lading", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["golden_rows"] > 0
    assert "I0000" not in done.stderr


def test_a_keras_file_with_code_in_it_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ConverterFailed, match="a model that Keras loads without code") as caught:
        packed(tmp_path / "model.keras", TABLE, tmp_path)
    assert "module:object" in caught.value.hint
