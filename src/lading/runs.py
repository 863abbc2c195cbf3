"""Runs over data sets, as the catalog keeps them and people read them: what was done, with which result.

A run of another kind than ``batch`` has no ``batch``. Does and stores nothing itself.
"""

from __future__ import annotations

from typing import Literal

import msgspec

RunKind = Literal["batch", "training"]
RunState = Literal["running", "finished", "failed", "lost"]

LOST_AFTER_S = 90.0
"""A run that has reported nothing for so long was killed, or cannot reach the catalog."""


class RunInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file that was read: its name, its bytes, its rows, and how many of them were scored or left out."""

    name: str
    sha256: str
    size_bytes: int
    rows: int
    scored: int
    rejected: int
    left_out: int = 0


class ColumnDrift(msgspec.Struct, frozen=True):
    """A column of the run: its PSI against the profile, what is usual at random, and the verdict."""

    column: str
    psi: float
    at_random: float
    drifted: bool


class BatchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch run reads and writes, and what it has come to.

    ``parts_done`` of ``parts`` are scored. ``manifest`` is the SHA-256 of the manifest once it is published,
    and ``plan`` the digest of all that decides the output. ``files`` counts the inputs, of which ``inputs``
    names the first ones. ``drift`` is None until it is judged, and empty where nothing can be: without a
    profile. ``failed`` has the input checks that rows failed, and how many; ``reasons`` why rows were set
    aside. ``left_out`` of the ``rows`` were left out by the expression ``where``.
    """

    engine: str
    output: str
    plan: str
    files: int
    parts: int
    parts_done: int = 0
    resumed: int = 0
    rows: int = 0
    scored: int = 0
    rejected: int = 0
    where: str = ""
    left_out: int = 0
    rows_per_s: float = 0.0
    reasons: tuple[tuple[str, int], ...] = ()
    failed: tuple[tuple[str, int], ...] = ()
    drift: tuple[ColumnDrift, ...] | None = None
    inputs: tuple[RunInput, ...] = ()
    manifest: str = ""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one model. Times are Unix times by the catalog's clock; ``ended_at`` is 0 while it lasts.

    ``version`` is 0 for a bundle that is no version of the registry. ``text`` says in one sentence why a run
    has failed. The catalog sets the times: those of a run that is on its way there mean nothing.
    """

    id: str
    kind: RunKind
    name: str
    version: int
    digest: str
    actor: str
    host: str
    state: RunState = "running"
    text: str = ""
    began_at: float = 0.0
    heard_at: float = 0.0
    ended_at: float = 0.0
    batch: BatchFacts | None = None

    @property
    def title(self) -> str:
        """What ran: ``iris:3``, or ``iris`` from a folder."""
        return f"{self.name}:{self.version}" if self.version else self.name
