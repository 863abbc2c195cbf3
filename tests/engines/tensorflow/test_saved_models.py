"""SavedModels and traced functions of TensorFlow: packed, asked, refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from lading.errors import ConverterFailed
from lading.pack import pack
from support.keras_models import TABLE, Linear, Parts, saved_model_cases
from support.sklearn_models import OWNER
from support.tensor_asking import ask

NAMES = [name for name, _ in saved_model_cases(None)]


def packed(model, samples, folder, notes=None):
    note = None if notes is None else notes.append
    return pack(model, name="m", samples=samples, owner=OWNER, to=folder / "bundle", on_note=note)


@pytest.mark.filterwarnings("ignore")  # what version 1 says of itself
@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_answers_unseen_rows_as_the_signature_does(tmp_path, name):
    case = dict(saved_model_cases(tmp_path))[name]()
    asked = ask(packed(case.model, case.samples, tmp_path), case.answer, case.kinds())
    assert (asked.silent, asked.refused, asked.examples) == (0, 0, [])
    assert asked.rows >= 160


def test_the_signature_that_was_taken_is_noted(tmp_path):
    case, notes = dict(saved_model_cases(tmp_path))["several signatures and outputs"](), []
    packed(case.model, case.samples, tmp_path, notes)
    assert "signature `serving_default` of `embed`, `serving_default`" in notes


def test_several_signatures_without_a_default_are_listed_and_one_of_them_packs(tmp_path):
    parts, folder = Parts(), tmp_path / "saved"
    tf.saved_model.save(parts, str(folder), signatures={"pool": parts.pool, "embed": parts.embed})
    tokens = np.arange(20, dtype=np.int32)
    with pytest.raises(ConverterFailed, match="found `embed`, `pool`") as caught:
        packed(folder, {"token": tokens}, tmp_path)
    assert ".signatures['embed']" in caught.value.hint
    loaded = tf.saved_model.load(str(folder))
    bundle = packed(loaded.signatures["embed"], tokens, tmp_path)
    assert bundle.manifest.signature.outputs[0].name == "vector"


def test_a_function_that_was_traced_packs_by_the_names_of_its_arguments(tmp_path):
    module = Linear()
    bundle = packed(module.score.get_concrete_function(), TABLE[:50], tmp_path)
    assert bundle.manifest.signature.inputs[0].name == "features"


@pytest.mark.parametrize(
    ("signature", "found"),
    [
        (None, "expected a SavedModel with a signature, found none"),
        ("lookup", "operation .*found `LookupTableFindV2`"),
        ("python", "EagerPyFunc"),
        ("anything", "a number of dimensions"),
    ],
)
def test_what_onnx_cannot_hold_is_refused(tmp_path, signature, found):
    module = Refused()
    signatures = None if signature is None else getattr(module, signature)
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=signatures)
    with pytest.raises(ConverterFailed, match=found) as caught:
        packed(tmp_path / "saved", {"x": TABLE[:50]}, tmp_path)
    assert caught.value.hint


class Refused(tf.Module):
    """Functions that TensorFlow alone can run."""

    def __init__(self) -> None:
        super().__init__()
        keys, values = tf.constant([0, 1], tf.int64), tf.constant([3.0, 4.0])
        entries = tf.lookup.KeyValueTensorInitializer(keys, values)
        self.table = tf.lookup.StaticHashTable(entries, -1.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])
    def lookup(self, x):
        return self.table.lookup(tf.cast(x, tf.int64))

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])
    def python(self, x):
        return tf.py_function(lambda rows: rows * 2, [x], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def anything(self, x):
        return x * 2


def test_a_module_is_refused_with_the_way_to_save_it(tmp_path):
    with pytest.raises(ConverterFailed, match="a traced function, or the folder of a SavedModel") as caught:
        packed(Linear(), TABLE, tmp_path)
    assert "tf.saved_model.save" in caught.value.hint


def test_a_folder_that_tensorflow_cannot_load_is_refused(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(ConverterFailed, match="a SavedModel that TensorFlow loads"):
        packed(tmp_path / "saved", TABLE, tmp_path)


@pytest.mark.slow
def test_a_saved_model_packs_from_the_command_line(tmp_path):
    dict(saved_model_cases(tmp_path))["tf.Module with a function"]()
    np.save(tmp_path / "rows.npy", TABLE[:50])
    command = ["pack", "module", "--name", "m", "--owner", OWNER, "--samples", "rows.npy"]
    done = subprocess.run(
        [sys.executable, "-m", "lading", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "packed `m`" in done.stderr
    assert "I0000" not in done.stderr
