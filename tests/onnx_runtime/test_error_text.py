"""ONNX Runtime's error messages as sentences."""

from __future__ import annotations

import pytest

from lading.onnx_runtime.error_text import error_sentence

RESHAPE = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'' "
    "Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 "
    "onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, "
    "onnxruntime::TensorShapeVector&, bool) input_shape_size == requested_shape_size was false. "
    "The input tensor cannot be reshaped. Input shape:{2,4}\n"
)
UNKNOWN = (
    "[ONNXRuntimeError] : 10 : INVALID_GRAPH : Load model from /a/m.onnx failed:This is an invalid model. "
    'In Node, ("n1", Foo, "", -1) : ("x": tensor(float),) -> ("y": tensor(float),) , Error No Op registered '
    "for Foo with domain_version of 17"
)
TWICE = "[ONNXRuntimeError] : 1 : FAIL : This is an invalid model. Error: Duplicate definition of name (a)."
BY_ZERO = (
    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: "
    "/onnxruntime_src/onnxruntime/core/providers/cpu/math/element_wise_ops.h:256 "
    "onnxruntime::Div<T>::Div(const onnxruntime::OpKernelInfo&) [with T = int] b_data[i] != T{0} was false. "
    "Integer division by zero"
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            RESHAPE,
            "Reshape node: The input tensor cannot be reshaped. Input shape:{2,4}",
        ),
        ("[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model from /a/m.onnx failed:No graph.", "No graph"),
        (UNKNOWN, "Foo node `n1`: No Op registered for Foo with domain_version of 17"),
        (TWICE, "Duplicate definition of name (a)"),
        (BY_ZERO, "Integer division by zero"),
        ("plain words\nStacktrace:\n0# main in a.out", "plain words"),
        ("", "ValueError"),
        ("x" * 500, "x" * 400 + "…"),
    ],
)
def test_a_message_becomes_one_clean_sentence(message, expected):
    assert error_sentence(ValueError(message)) == expected
