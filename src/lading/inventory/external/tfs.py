"""TensorFlow Serving over REST: the status and inputs of named models, because it cannot list them.

Source: tensorflow/serving, tensorflow_serving/g3doc/api_rest.md ("Model status API", "Model Metadata API").
It reports its own version nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

import httpx
import msgspec

from lading.inventory.external import Answer, get, make_model
from lading.replica import ReplicaModel

_STATES = {"AVAILABLE": "ready", "START": "loading", "END": "unloaded"}


class _Problem(msgspec.Struct, frozen=True):
    error_message: str = ""


class _Version(msgspec.Struct, frozen=True):
    version: str
    state: str
    status: _Problem = _Problem()


class _Status(msgspec.Struct, frozen=True):
    model_version_status: list[_Version]


class _Dim(msgspec.Struct, frozen=True):
    size: str = "-1"


class _Shape(msgspec.Struct, frozen=True):
    dim: list[_Dim] = []
    unknown_rank: bool = False


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    tensor_shape: _Shape = _Shape()


class _Signature(msgspec.Struct, frozen=True):
    inputs: dict[str, _Tensor] = {}


class _Signatures(msgspec.Struct, frozen=True):
    signature_def: dict[str, _Signature]


class _Metadata(msgspec.Struct, frozen=True):
    signature_def: _Signatures  # Nested under the same name in the JSON.


class _Model(msgspec.Struct, frozen=True):
    metadata: _Metadata


def ask(http: httpx.Client, models: Sequence[str]) -> Answer | None:
    """Ask about each of `models`; None if it knows none of them."""
    versions = [version for name in models for version in _versions(http, name)]
    return Answer("tensorflow-serving", tuple(versions)) if versions else None


def _versions(http: httpx.Client, name: str) -> Iterator[ReplicaModel]:
    path = f"/v1/models/{quote(name, safe='')}"
    status = get(http, path, _Status)
    for version in status.model_version_status if status is not None else ():
        state = _STATES.get(version.state, version.state.lower())
        # Only a loaded version has metadata.
        metadata_path = f"{path}/versions/{quote(version.version, safe='')}/metadata"
        yield make_model(
            name,
            version.version,
            state=state,
            reason=version.status.error_message,
            input_format=_inputs(http, metadata_path) if state == "ready" else "",
        )


def _inputs(http: httpx.Client, path: str) -> str:
    answer = get(http, path, _Model)
    signatures = answer.metadata.signature_def.signature_def if answer is not None else {}
    signature = signatures.get("serving_default") or next(iter(signatures.values()), _Signature())
    return "; ".join(f"{name}: {_tensor_type(tensor)}" for name, tensor in sorted(signature.inputs.items()))


def _tensor_type(tensor: _Tensor) -> str:
    sizes = ", ".join(dim.size for dim in tensor.tensor_shape.dim)
    shape = "?" if tensor.tensor_shape.unknown_rank else f"[{sizes}]"
    return f"{tensor.dtype.removeprefix('DT_').lower()} {shape}"
