"""A replica: one running server, as it describes itself to the inventory. Measures nothing itself."""

from __future__ import annotations

from typing import Literal

import msgspec

Pattern = Literal["load", "in-image", "foreign"]
"""How its models came there; a ``foreign`` server is not lading's and was asked over its public routes."""

GONE_AFTER_S = 15.0
"""A replica that did not beat for so long counts as gone."""


class ReplicaModel(msgspec.Struct, frozen=True, kw_only=True):
    """One version that a replica has loaded, or tried to. ``state`` is the server's word, ``reason`` why."""

    name: str
    version: int
    digest: str = ""
    state: str = ""
    reason: str = ""
    purpose: str = ""
    owner: str = ""
    input_format: str = ""
    version_text: str = ""
    """What a foreign server calls a version that is no number; ``version`` is 0 then."""
    requests: int = 0
    last_request_at: str | None = None


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One running server and what it runs on. What a foreign server does not tell is empty, 0 or None.

    ``software`` is what answers there, with its version. ``stopped_at`` is set by a server that drained.
    ``silent_s`` is how long ago it beat last, by the catalog's clock: the registry fills it in, as it does
    ``last_seen_at``, so that hosts whose clocks differ agree on who is gone.
    """

    id: str
    host: str = ""
    address: str = ""
    grpc_address: str = ""
    pattern: Pattern = "load"
    os: str = ""
    kernel: str = ""
    arch: str = ""
    cpus: float = 0
    memory_bytes: int = 0
    python: str = ""
    software: str = ""
    lading: str = ""
    packages: dict[str, str] = {}
    onnxruntime: str = ""
    providers: tuple[str, ...] = ()
    fingerprint: str = ""
    image: str | None = None
    started_at: str = ""
    stopped_at: str = ""
    last_seen_at: str = ""
    silent_s: float = 0.0
    models: tuple[ReplicaModel, ...] = ()
    settings: dict[str, str] = {}

    @property
    def gone(self) -> bool:
        """Whether it said goodbye or did not beat for `GONE_AFTER_S`; a foreign server never beats."""
        silent = self.silent_s > GONE_AFTER_S
        return self.pattern != "foreign" and (bool(self.stopped_at) or silent)
