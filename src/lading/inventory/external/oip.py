"""Open Inference Protocol v2: Triton, MLServer, KServe. Asks over REST only.

Source: kserve/open-inference-protocol (specification/protocol), and Triton's extensions `model_repository`
and `statistics` (triton-inference-server/server, docs/protocol), of which MLServer has the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import httpx
import msgspec

from lading.clock import iso_time
from lading.inventory.external import Answer, get, make_model, parse, request
from lading.replica import ReplicaModel

# The year 9999: what is later is no time.
_LATEST_MS = 253_370_764_800_000


class _Server(msgspec.Struct, frozen=True):
    name: str
    version: str = ""


class _Entry(msgspec.Struct, frozen=True):
    name: str
    version: str | None = ""
    state: str | None = ""
    reason: str | None = ""


class _Tensor(msgspec.Struct, frozen=True):
    name: str
    datatype: str
    shape: list[int]


class _Model(msgspec.Struct, frozen=True):
    name: str
    versions: list[str] | None = None
    platform: str | None = ""
    inputs: list[_Tensor] | None = None


class _ModelNames(msgspec.Struct, frozen=True):
    models: list[str]


class _Count(msgspec.Struct, frozen=True):
    count: int = 0


class _Counts(msgspec.Struct, frozen=True):
    success: _Count = _Count()
    fail: _Count = _Count()


class _Stats(msgspec.Struct, frozen=True):
    name: str
    version: str = ""
    last_inference: int = 0
    inference_stats: _Counts = _Counts()


class _AllStats(msgspec.Struct, frozen=True):
    model_stats: list[_Stats]


def ask(http: httpx.Client, models: Sequence[str]) -> Answer | None:
    """Ask for the server, its repository, and the inputs and request counts of each model."""
    server = get(http, "/v2", _Server) or get(http, "/v2/", _Server)
    if server is None or not server.name.strip():
        return None
    entries = [entry for entry in _repository(http) if not models or entry.name in models]
    listed = {entry.name for entry in entries}
    entries += [_Entry(name, state=_state(http, name)) for name in models if name not in listed]
    # Optional: an extension of Triton.
    counts = get(http, "/v2/models/stats", _AllStats)
    stats = {(entry.name, entry.version): entry for entry in counts.model_stats} if counts else {}
    software = f"{server.name} {server.version}".strip()
    return Answer(software, tuple(_describe_model(http, entry, stats) for entry in entries))


def _repository(http: httpx.Client) -> list[_Entry]:
    """List the repository; a server without that extension may list the names of its models, as KServe."""
    entries = parse(request(http, "POST", "/v2/repository/index", json={}), list[_Entry])
    if entries is not None:
        return entries
    names = get(http, "/v2/models", _ModelNames)
    return [_Entry(name, state=_state(http, name)) for name in names.models] if names else []


def _state(http: httpx.Client, name: str) -> str:
    response = request(http, "GET", f"/v2/models/{quote(name, safe='')}/ready")
    return "ready" if response.status_code == httpx.codes.OK else "unavailable"


def _describe_model(http: httpx.Client, entry: _Entry, stats: dict[tuple[str, str], _Stats]) -> ReplicaModel:
    version = entry.version or ""
    path = f"/v2/models/{quote(entry.name, safe='')}"
    metadata = get(http, f"{path}/versions/{quote(version, safe='')}" if version else path, _Model)
    if metadata is None:
        metadata = _Model(entry.name)
    # An index without versions still names a model that has just one.
    if not version and metadata.versions and len(metadata.versions) == 1:
        version = metadata.versions[0]
    counts = stats.get((entry.name, version), _Stats(entry.name))
    inputs = [f"{tensor.name}: {tensor.datatype.lower()} {tensor.shape}" for tensor in metadata.inputs or ()]
    return make_model(
        entry.name,
        version,
        state=(entry.state or "").lower(),
        reason=entry.reason or "",
        input_format="; ".join(inputs),
        requests=counts.inference_stats.success.count + counts.inference_stats.fail.count,
        # Milliseconds since the epoch; 0 before the first request.
        last_request_at=iso_time(counts.last_inference / 1000)
        if 0 < counts.last_inference < _LATEST_MS
        else None,
    )
