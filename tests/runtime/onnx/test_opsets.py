"""The IR version and opsets of model files, and the newest that ONNX Runtime reads."""

from __future__ import annotations

from lading.errors import OperatorUnsupported
from lading.runtime.onnx.opsets import check_versions, model_versions, supported_ir, supported_opset
from support.onnx_graphs import identity
from support.onnx_sessions import open_error, open_session


def test_versions_are_read_from_the_file(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(identity(opset=15, ir=7, domains={"ai.onnx.ml": 3}))
    versions = model_versions(path)
    assert (versions.ir, versions.opsets) == (7, {"ai.onnx": 15, "ai.onnx.ml": 3})
    assert check_versions(path).startswith("IR 7, ai.onnx 15, ai.onnx.ml 3; ONNX Runtime ")


def test_onnx_runtime_reports_the_newest_versions_that_it_reads():
    # Both are asked of it with models that are too new; if its words change, this shows it.
    assert supported_ir() >= 10
    assert supported_opset("ai.onnx") >= 20
    assert supported_opset("ai.onnx.ml") >= 3


def test_models_of_the_newest_reported_versions_load(tmp_path):
    newest = {"opset": supported_opset("ai.onnx"), "ir": supported_ir()}
    assert open_session(tmp_path, identity(**newest)).outputs[0].name == "Y"


def test_a_newer_opset_is_refused_with_both_numbers(tmp_path):
    limit = supported_opset("ai.onnx")
    error = open_error(tmp_path, identity(opset=99))
    assert isinstance(error, OperatorUnsupported)
    assert error.message == f"opset of `ai.onnx` in `model.onnx`: expected at most {limit}, found 99"


def test_a_newer_opset_of_another_domain_is_refused_with_both_numbers(tmp_path):
    limit = supported_opset("ai.onnx.ml")
    error = open_error(tmp_path, identity(domains={"ai.onnx.ml": 77}))
    assert isinstance(error, OperatorUnsupported)
    assert error.message == f"opset of `ai.onnx.ml` in `model.onnx`: expected at most {limit}, found 77"


def test_a_newer_ir_is_refused_with_both_numbers(tmp_path):
    error = open_error(tmp_path, identity(ir=99))
    assert isinstance(error, OperatorUnsupported)
    assert error.message == f"IR version of `model.onnx`: expected at most {supported_ir()}, found 99"
