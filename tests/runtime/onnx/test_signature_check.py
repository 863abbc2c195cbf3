"""Signatures of manifests against the models that they describe."""

from __future__ import annotations

import pytest

from lading.errors import SignatureMismatch
from lading.runtime.onnx.signature_check import check_signature
from lading.signature import Signature
from support.onnx_graphs import identity, tensor
from support.onnx_sessions import open_session


@pytest.mark.parametrize(
    ("inputs", "outputs", "of_the_model"),
    [
        ([tensor("Z", "float32", "batch", 4)], None, "`X` in the model"),
        ([tensor("X", "float64", "batch", 4)], None, "`float32 [batch, 4]` in the model"),
        ([tensor("X", "float32", "batch", 5)], None, "`float32 [batch, 4]` in the model"),
        ([tensor("X", "float32", "batch")], None, "`float32 [batch, 4]` in the model"),
        ([tensor("X", "float32", "batch", "features")], None, "`float32 [batch, 4]` in the model"),
        (None, [tensor("Y", "int64", "batch", 4)], "`float32 [batch, 4]` in the model"),
        (None, [tensor("Y", "float32", "batch", 3)], "`float32 [batch, 4]` in the model"),
        (None, [tensor("Y", "float32", "batch", 4), tensor("Z")], "`Y` in the model"),
    ],
)
def test_a_signature_that_differs_from_the_model_is_refused(tmp_path, inputs, outputs, of_the_model):
    runtime = open_session(tmp_path, identity("float32", "batch", 4))
    signature = Signature(tuple(inputs or runtime.inputs), tuple(outputs or runtime.outputs))
    with pytest.raises(SignatureMismatch) as caught:
        check_signature(signature, runtime.inputs, runtime.outputs)
    assert caught.value.found == of_the_model


def test_a_signature_may_be_narrower_than_the_model():
    model = [tensor("X", "float32", "rows", "?")]
    check_signature(Signature((tensor("X", "float32", "batch", 4),), ()), model, [])
    check_signature(Signature((tensor("X", "float32", 1, 4),), ()), model, [])


def test_an_output_that_the_model_wrongly_declares_fixed_may_be_a_batch():
    # LightGBM's converter declares its label as {1}; ONNX Runtime answers any batch all the same.
    label = tensor("label", "int64", "batch")
    check_signature(Signature((), (label,)), [], [tensor("label", "int64", 1)])
