"""TensorFlow Serving over REST: the status and the inputs of the models that are named, for it lists none.

Facts: tensorflow/serving, tensorflow_serving/g3doc/api_rest.md ("Model status API", "Model Metadata API").
It does not tell its own version anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

import httpx
import msgspec

from lading.inventory.external import Found, get, model
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
    signature_def: _Signatures  # The name stands twice in the JSON.


class _Model(msgspec.Struct, frozen=True):
    metadata: _Metadata


def ask(http: httpx.Client, models: Sequence[str]) -> Found | None:
    """Ask for each of `models`; None if it answers for none of them."""
    found = [one for name in models for one in _versions(http, name)]
    return Found("tensorflow-serving", tuple(found)) if found else None


def _versions(http: httpx.Client, name: str) -> Iterator[ReplicaModel]:
    path = f"/v1/models/{quote(name, safe='')}"
    status = get(http, path, _Status)
    for one in status.model_version_status if status is not None else ():
        state = _STATES.get(one.state, one.state.lower())
        yield model(
            name,
            one.version,
            state=state,
            reason=one.status.error_message,
            input_format=_inputs(http, f"{path}/versions/{one.version}/metadata") if state == "ready" else "",
        )


def _inputs(http: httpx.Client, path: str) -> str:
    told = get(http, path, _Model)
    signatures = told.metadata.signature_def.signature_def if told is not None else {}
    signature = signatures.get("serving_default") or next(iter(signatures.values()), _Signature())
    return "; ".join(f"{name}: {_shown(one)}" for name, one in sorted(signature.inputs.items()))


def _shown(tensor: _Tensor) -> str:
    sizes = ", ".join(one.size for one in tensor.tensor_shape.dim)
    shape = "?" if tensor.tensor_shape.unknown_rank else f"[{sizes}]"
    return f"{tensor.dtype.removeprefix('DT_').lower()} {shape}"
