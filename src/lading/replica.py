"""A replica: one running server, as it describes itself to the inventory. Measures nothing itself."""

from __future__ import annotations

from typing import Literal

import msgspec

# How its models came there. A foreign server is not lading's: it was asked over its public routes.
Pattern = Literal["load", "in-image", "foreign"]

# Stopped: it has drained and said goodbye. Gone: it is silent without having said so.
Standing = Literal["running", "stopped", "gone", "foreign"]

# Five heartbeats of 3 s may be lost before a replica counts as gone.
GONE_AFTER_S = 15.0

STALE_S = 86_400.0
"""The age from which what a foreign server answered counts as stale; nothing asks it again by itself."""

# What a server did not report, as one of an older lading does not.
UNKNOWN = "unknown"


class ReplicaModel(msgspec.Struct, frozen=True, kw_only=True):
    """One version that a replica has loaded, or tried to load."""

    name: str
    version: int
    digest: str = ""
    state: str = ""  # as the server says it
    reason: str = ""  # of that state
    purpose: str = ""
    owner: str = ""
    input_format: str = ""
    executes: str = UNKNOWN  # of its own, when it is loaded: `no`, `code` or `pickle`
    # Of a model in Python: the digest of its lock, and its version of Python.
    environment: str = ""
    python: str = ""
    # What a foreign server calls a version that is no number; `version` is 0 then.
    version_text: str = ""
    requests: int = 0
    last_request_at: str | None = None

    @property
    def title(self) -> str:
        """Return its name with its version, if it has one."""
        version = self.version_text or (str(self.version) if self.version else "")
        return f"{self.name}:{version}" if version else self.name


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One running server and what it runs on. What a foreign server does not report is empty, 0 or None."""

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
    software: str = ""  # what answers there, with its version
    lading: str = ""
    packages: dict[str, str] = {}
    onnxruntime: str = ""
    providers: tuple[str, ...] = ()
    fingerprint: str = ""
    image: str | None = None
    started_at: str = ""
    stopped_at: str = ""  # set by a server that has drained
    # Both are set by the registry, by the catalog's clock: hosts whose clocks differ agree on who is gone.
    last_seen_at: str = ""
    silent_s: float = 0.0  # since its last heartbeat
    # The digest of its trust policy; `none` for a server that lets everything in.
    trust_policy: str = UNKNOWN
    models: tuple[ReplicaModel, ...] = ()
    settings: dict[str, str] = {}

    @property
    def gone(self) -> bool:
        """Return whether it said goodbye or sent no heartbeat for `GONE_AFTER_S`."""
        if self.pattern == "foreign":
            return False  # It sends no heartbeats.
        return bool(self.stopped_at) or self.silent_s > GONE_AFTER_S

    @property
    def standing(self) -> Standing:
        """Return whether it runs, has stopped or is gone; of a foreign one that is not known."""
        if self.pattern == "foreign":
            return "foreign"
        if not self.gone:
            return "running"
        return "stopped" if self.stopped_at else "gone"

    @property
    def is_stale(self) -> bool:
        """Return whether it is gone or, if it is foreign, has not been asked for a day."""
        return self.gone or (self.pattern == "foreign" and self.silent_s > STALE_S)
