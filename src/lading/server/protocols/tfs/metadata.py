"""States and signatures of versions in TensorFlow Serving's form, which REST and gRPC write alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lading.server.inference.version import ServedVersion, State
from lading.server.protocols.tfs.error_text import type_name
from lading.signature import Tensor

_STATES = {
    State.LOADING: "LOADING",
    State.WARMING: "LOADING",
    State.READY: "AVAILABLE",
    State.DRAINING: "UNLOADING",
    State.UNLOADED: "END",
}
_FAILED_PRECONDITION = 9


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """The state of a version in TensorFlow Serving's words; ``code`` is a gRPC status code."""

    state: str
    code: int = 0
    code_name: str = "OK"
    message: str = ""


def version_status(served: ServedVersion) -> VersionStatus:
    """Return the state of a version, with the reason if it failed."""
    if served.state is State.FAILED:
        return VersionStatus("END", _FAILED_PRECONDITION, "FAILED_PRECONDITION", served.reason)
    return VersionStatus(_STATES[served.state])


def signature_def(served: ServedVersion) -> dict[str, Any]:
    """Return the signature as the JSON of TensorFlow's SignatureDef."""
    return {
        "inputs": {tensor.name: _tensor_info(tensor) for tensor in served.signature.inputs},
        "outputs": {tensor.name: _tensor_info(tensor) for tensor in served.signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }


def _tensor_info(tensor: Tensor) -> dict[str, Any]:
    sizes = (size if isinstance(size, int) else -1 for size in tensor.shape)
    return {
        "dtype": f"DT_{type_name(tensor.dtype).upper()}",
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in sizes],
            "unknown_rank": False,
        },
        "name": f"{tensor.name}:0",  # A TensorFlow tensor is output 0 of the operation of that name.
    }
