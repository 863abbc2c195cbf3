"""The inventory: every replica and what it runs, and one of them whole."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from lading.errors import ReplicaNotFound
from lading.hub.knowledge import Knowledge
from lading.hub.views.tables import Page, TableState, page_of
from lading.replica import Pattern, Replica, ReplicaModel, Standing
from lading.trust.running import Exposure, exposure

COLUMNS = ("id", "standing", "pattern", "models", "software", "onnxruntime", "python", "seen")
FILTERS: Mapping[str, Sequence[str]] = {
    "standing": ("running", "stopped", "gone", "foreign"),
    "pattern": ("load", "in-image", "foreign"),
    "models": ("failed",),
}
"""What a table can be limited to, and to which values."""
MODELS_SHOWN = 6
"""How many models of a replica a row shows; its page shows all."""
# Running servers come first, as in `lading inventory`.
_ORDER: tuple[Standing, ...] = ("running", "foreign", "gone", "stopped")
_FAILED = "failed"
_DIGITS = re.compile(r"(\d+)", re.ASCII)


class Loaded(msgspec.Struct, frozen=True):
    """A model of a replica; ``in_registry`` says that this registry has the version."""

    model: ReplicaModel
    in_registry: bool


class ReplicaRow(msgspec.Struct, frozen=True, kw_only=True):
    """A replica in the table. ``models`` has failed ones first, ``failed`` counts them.

    ``seen_at`` is the Unix time, by the clock of the hub, of its last heartbeat or of the last answer of a
    foreign server; ``is_stale`` says that this is too long ago. ``link`` is the path of its page.
    ``exposure`` is what scans know against it.
    """

    id: str
    link: str
    host: str
    address: str
    pattern: Pattern
    standing: Standing
    is_stale: bool
    seen_at: float
    software: str
    lading: str
    onnxruntime: str
    python: str
    models: list[Loaded]
    failed: int
    exposure: Exposure


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """The table. ``standings`` counts all replicas by how they stand, ``failed`` those with a failure."""

    table: Page[ReplicaRow]
    standings: dict[Standing, int]
    failed: int


class ReplicaPage(msgspec.Struct, frozen=True, kw_only=True):
    """One replica. ``command`` is what a person runs next about one that is stale, or empty."""

    row: ReplicaRow
    replica: Replica
    command: str


def inventory(knowledge: Knowledge, state: TableState) -> Inventory:
    """Return a page of the table of replicas, and how many of each kind all pages have."""
    rows = [replica_row(knowledge, replica) for replica in knowledge.replicas]
    by_id = {replica.id: replica for replica in knowledge.replicas}
    keys: dict[str, Callable[[ReplicaRow], Any]] = {
        "id": lambda row: _natural(row.id),
        "standing": lambda row: (_ORDER.index(row.standing), _natural(row.id)),
        "pattern": lambda row: (row.pattern, _natural(row.id)),
        "models": lambda row: (len(row.models), _natural(row.id)),
        "software": lambda row: (_natural(row.software), _natural(row.id)),
        "onnxruntime": lambda row: (_natural(row.onnxruntime), _natural(row.id)),
        "python": lambda row: (_natural(row.python), _natural(row.id)),
        "seen": lambda row: (row.seen_at, _natural(row.id)),
    }
    return Inventory(
        table=page_of(
            rows,
            state,
            texts=lambda row: (*_texts(row), *_package_texts(by_id[row.id])),
            keys=keys,
            default="standing",
            rules={
                "standing": lambda row: row.standing,
                "pattern": lambda row: row.pattern,
                "models": lambda row: _FAILED if row.failed else "",
            },
        ),
        standings=dict(Counter(row.standing for row in rows)),
        failed=sum(row.failed > 0 for row in rows),
    )


def replica_row(knowledge: Knowledge, replica: Replica) -> ReplicaRow:
    """Return what the table says of a replica."""
    models = sorted(replica.models, key=lambda model: (model.state != _FAILED, model.name, model.version))
    # What a model reported before its replica was gone no longer holds.
    failed = 0 if replica.gone else sum(model.state == _FAILED for model in models)
    return ReplicaRow(
        id=replica.id,
        # No character is safe: an id may have slashes, question marks and percent signs of its own.
        link=f"/inventory/{quote(replica.id, safe='')}",
        host=replica.host,
        address=replica.address,
        pattern=replica.pattern,
        standing=replica.standing,
        is_stale=replica.is_stale,
        # By the clock of the catalog it is silent for so long; the clock of the hub may be another.
        seen_at=knowledge.read_at - replica.silent_s,
        software=replica.software,
        lading=replica.lading,
        onnxruntime=replica.onnxruntime,
        python=replica.python,
        models=[Loaded(model, _has(knowledge, replica, model)) for model in models],
        failed=failed,
        exposure=exposure(replica, knowledge.scans),
    )


def replica_page(knowledge: Knowledge, replica_id: str) -> ReplicaPage:
    """Return the page of a replica. Raises `ReplicaNotFound`."""
    for replica in knowledge.replicas:
        if replica.id == replica_id:
            return ReplicaPage(
                row=replica_row(knowledge, replica), replica=replica, command=_next_command(replica)
            )
    raise ReplicaNotFound(
        f"server `{replica_id}`", expected="a server of the inventory", found="none", hint="see `/inventory`"
    )


def _next_command(replica: Replica) -> str:
    if not replica.is_stale:
        return ""
    # It sends no heartbeats, so it is not to be forgotten but asked.
    if replica.pattern == "foreign":
        return "lading inventory --ask"
    # An id may begin as an option does.
    return f"lading inventory forget -- {shlex.quote(replica.id)}"


def _has(knowledge: Knowledge, replica: Replica, model: ReplicaModel) -> bool:
    # The numbers of a foreign server are its own, and a bundle that is served from a folder has none.
    newest = knowledge.newest.get(model.name)
    return replica.pattern != "foreign" and newest is not None and 0 < model.version <= newest.version


def _texts(row: ReplicaRow) -> Sequence[str]:
    models = [
        text
        for each in row.models
        for text in (each.model.title, each.model.state, each.model.reason, each.model.digest)
    ]
    return (row.id, row.host, row.address, row.standing, row.pattern, row.software, *models)


def _package_texts(replica: Replica) -> Sequence[str]:
    packages = [f"{name}=={version}" for name, version in replica.packages.items()]
    return (
        *packages,
        f"onnxruntime=={replica.onnxruntime}",
        f"python=={replica.python}",
        replica.image or "",
    )


def _natural(text: str) -> tuple[tuple[str, int, str], ...]:
    """Return a key by which `web-9` is before `web-10`, and version 1.9 before 1.10."""
    parts = _DIGITS.split(text)
    # Numbers of any length, so by their digits: a longer one without zeros in front is the higher one.
    numbers = [digits.lstrip("0") for digits in parts[1::2]] + [""]
    return tuple((word, len(digits), digits) for word, digits in zip(parts[::2], numbers, strict=True))
