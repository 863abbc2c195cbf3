"""Open Inference Protocol v2: Triton, MLServer, KServe. Asks over REST only.

Facts: kserve/open-inference-protocol (specification/protocol), and Triton's extensions `model_repository`
and `statistics` (triton-inference-server/server, docs/protocol), which MLServer has the first of.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import httpx
import msgspec

from lading.clock import iso_time
from lading.inventory.external import Found, get, model, read
from lading.replica import ReplicaModel


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


class _Listed(msgspec.Struct, frozen=True):
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


def ask(http: httpx.Client, models: Sequence[str]) -> Found | None:
    """Ask for the server, its repository, the inputs of each model, and how often it was asked."""
    server = get(http, "/v2", _Server) or get(http, "/v2/", _Server)
    if server is None:
        return None
    listed = [one for one in _index(http) if not models or one.name in models]
    named = {one.name for one in listed}
    listed += [_Entry(name, state=_ready(http, name)) for name in models if name not in named]
    counts = get(http, "/v2/models/stats", _AllStats)
    stats = {(one.name, one.version): one for one in counts.model_stats} if counts else {}
    return Found(f"{server.name} {server.version}".strip(), tuple(_asked(http, one, stats) for one in listed))


def _index(http: httpx.Client) -> list[_Entry]:
    """List the repository; a server without one may list the names of its models, as KServe does."""
    entries = read(http.post("/v2/repository/index", json={}), list[_Entry])
    if entries is not None:
        return entries
    listed = get(http, "/v2/models", _Listed)
    return [_Entry(name, state=_ready(http, name)) for name in listed.models] if listed else []


def _ready(http: httpx.Client, name: str) -> str:
    answer = http.get(f"/v2/models/{quote(name, safe='')}/ready")
    return "ready" if answer.status_code == httpx.codes.OK else "unavailable"


def _asked(http: httpx.Client, entry: _Entry, stats: dict[tuple[str, str], _Stats]) -> ReplicaModel:
    version = entry.version or ""
    path = f"/v2/models/{quote(entry.name, safe='')}"
    told = get(http, f"{path}/versions/{quote(version, safe='')}" if version else path, _Model)
    if told is None:
        told = _Model(entry.name)
    if not version and told.versions and len(told.versions) == 1:
        version = told.versions[0]
    count = stats.get((entry.name, version), _Stats(entry.name))
    found = model(
        entry.name,
        version,
        state=(entry.state or "").lower(),
        reason=entry.reason or "",
        input_format="; ".join(
            f"{one.name}: {one.datatype.lower()} {one.shape}" for one in told.inputs or ()
        ),
    )
    return msgspec.structs.replace(
        found,
        requests=count.inference_stats.success.count + count.inference_stats.fail.count,
        last_request_at=iso_time(count.last_inference / 1000) if count.last_inference else None,
    )
