"""ONNX Runtime's error messages as sentences."""

from __future__ import annotations

import pytest

from lading.runtime.onnx.error_text import error_sentence

RESHAPE = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'' "
    "Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 "
    "onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, "
    "onnxruntime::TensorShapeVector&, bool) input_shape_size == requested_shape_size was false. "
    "The input tensor cannot be reshaped. Input shape:{2,4}\n"
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            RESHAPE,
            "Reshape node: The input tensor cannot be reshaped. Input shape:{2,4}",
        ),
        ("[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model from /a/m.onnx failed:No graph.", "No graph"),
        ("plain words\nStacktrace:\n0# main in a.out", "plain words"),
        ("", "ValueError"),
        ("x" * 500, "x" * 400 + "…"),
    ],
)
def test_a_message_becomes_one_clean_sentence(message, expected):
    assert error_sentence(ValueError(message)) == expected
