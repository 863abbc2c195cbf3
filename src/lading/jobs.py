"""Jobs in words: a request that is answered later, its claim by a server, its answer, its webhook.

Runs nothing and stores nothing: servers do the one, catalogs the other.
"""

from __future__ import annotations

from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

State = Literal["waiting", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")

HookState = Literal["", "due", "delivered", "given_up"]

PRIORITIES = (-1000, 1000)
"""The least and the greatest priority; jobs of a greater one are first."""

LONGEST_KEY = 255
"""Longest key by which a client submits the same job again, in characters."""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is to be stored: the request of a predict route, and what is to happen around it.

    ``target`` is what a server must have loaded to run it (`targets_of` in the server's worker). ``headers``
    are those that the answer may depend on. ``fingerprint`` is the digest of the request: with ``key``, the
    same job again must have the same one. ``webhook`` is a URL, or empty.
    """

    id: str
    name: str
    target: str
    path: str
    headers: dict[str, str]
    body: bytes
    fingerprint: str
    priority: int = 0
    key: str = ""
    webhook: str = ""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs that a server has room for: at most ``limit`` for one of ``targets``, for ``ttl_s`` seconds.

    Each time with a new ``token``, by which the claims are known.
    """

    targets: tuple[str, ...]
    limit: int
    token: str
    replica: str
    ttl_s: float


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a server has taken; whatever it reports is ignored once another ``token`` holds the job."""

    id: str
    token: str
    name: str
    path: str
    headers: dict[str, str]
    body: bytes
    attempts: int
    has_webhook: bool = False


class AnsweredBy(msgspec.Struct, frozen=True, kw_only=True):
    """Which version answered a job, and on which side of a release; ``side`` is empty without one."""

    model: str
    version: int
    digest: str
    side: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the predict route answered, byte for byte."""

    status: int
    content_type: str
    body: bytes
    served: AnsweredBy | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a claimed job ended. ``reason`` says in a sentence why it has failed."""

    id: str
    token: str
    state: State
    answer: Answer | None = None
    reason: str = ""


class Requeued(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed job that waits again, for `after_s` at least; ``counts`` is whether this was an attempt."""

    id: str
    token: str
    reason: str
    after_s: float = 0.0
    counts: bool = False


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a job, without its bodies. Times are Unix times of the catalog's clock, 0 for never.

    ``status`` is that of the answer, 0 without one. ``hook`` is how far the webhook got, ``hook_text`` what
    its last attempt came to.
    """

    id: str
    number: int
    name: str
    path: str
    priority: int
    state: State
    created_at: float
    fingerprint: str
    started_at: float = 0.0
    ended_at: float = 0.0
    attempts: int = 0
    replica: str = ""
    reason: str = ""
    status: int = 0
    served: AnsweredBy | None = None
    webhook: str = ""
    hook: HookState = ""
    hook_attempts: int = 0
    hook_text: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more but the delivery of the webhook."""
        return self.state in ENDED

    @property
    def webhook_host(self) -> str:
        """The host of the webhook, for people to see: the rest of its URL may be a secret."""
        return urlsplit(self.webhook).hostname or ""


class HookCall(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is due: what has ended, where to send it, and how often that was tried before."""

    job: JobRecord
    attempts: int


class HookResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt to deliver came to; ``again_s`` is the pause until the next, None without another."""

    id: str
    attempts: int
    delivered: bool
    text: str
    again_s: float | None = None


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a model wait and run, and for how long the oldest that waits has waited."""

    name: str
    waiting: int
    running: int
    oldest_s: float
