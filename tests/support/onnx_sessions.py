"""Sessions of models given as bytes, and the errors of models that do not open."""

from __future__ import annotations

from pathlib import Path

import pytest

from lading.errors import LadingError
from lading.runtime.onnx.session import OnnxRuntime


def open_session(folder: Path, model: bytes) -> OnnxRuntime:
    """Open `model` from a file in `folder`."""
    path = folder / "model.onnx"
    path.write_bytes(model)
    return OnnxRuntime(path)


def open_error(folder: Path, model: bytes) -> LadingError:
    """Return the error of opening `model`, whose message is one sentence without C++ and without paths."""
    with pytest.raises(LadingError) as caught:
        open_session(folder, model)
    assert "\n" not in caught.value.message
    assert "onnxruntime::" not in caught.value.message
    assert str(folder) not in caught.value.message
    return caught.value
