"""The models, and one of them: its versions, its release and what happened to it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lading.alarms import Alarm
from lading.hub.knowledge import Knowledge
from lading.hub.views.runs import RUNS_OF_MODEL, RunRow, run_row
from lading.hub.views.tables import Page, TableState, page_of
from lading.registry.records import ModelVersion
from lading.release import Event, Release
from lading.runs import Run
from lading.trust.running import Exposure, exposure, together

COLUMNS = ("name", "owner", "pushed", "changed", "replicas", "alarms")
VERSIONS_A_PAGE = 50
EVENTS_SHOWN = 30


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model in the table. A version is 0, and a time empty, where there is none."""

    name: str
    owner: str
    purpose: str
    newest: int
    pushed_at: str
    live: int
    candidate: int
    mode: str
    state: str
    percent: float
    changed_at: str
    replicas: int
    alarms: int


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    """One model. ``older`` is the number below which more versions are, 0 if these are all.

    ``runs`` are its last runs over data sets, and ``more_runs`` says that there are others.
    ``exposure`` is what scans know against what runs it.
    """

    row: ModelRow
    release: Release | None
    versions: list[ModelVersion]
    running: dict[int, int]
    older: int
    events: list[Event]
    alarms: list[Alarm]
    runs: list[RunRow]
    more_runs: bool
    exposure: Exposure


def models(knowledge: Knowledge, state: TableState) -> Page[ModelRow]:
    """Return a page of the table of models."""
    return page_of(
        [model_row(knowledge, name) for name in knowledge.names],
        state,
        texts=lambda row: (row.name, row.owner, row.purpose),
        keys={
            "name": lambda row: row.name,
            "owner": lambda row: (row.owner, row.name),
            "pushed": lambda row: (row.pushed_at, row.name),
            "changed": lambda row: (row.changed_at, row.name),
            "replicas": lambda row: (row.replicas, row.name),
            "alarms": lambda row: (row.alarms, row.name),
        },
        default="name",
    )


def model_row(knowledge: Knowledge, name: str) -> ModelRow:
    """Return what the table says of a model."""
    version, release = knowledge.newest.get(name), knowledge.releases.get(name)
    places = knowledge.serving.get(name, ())
    # A model of a foreign server has no version here: its owner is the one that the server states.
    return ModelRow(
        name=name,
        owner=version.owner if version is not None else next((p.model.owner for p in places), ""),
        purpose=version.purpose if version is not None else next((p.model.purpose for p in places), ""),
        newest=version.version if version is not None else 0,
        pushed_at=version.pushed_at if version is not None else "",
        live=release.live or 0 if release is not None else 0,
        candidate=release.candidate or 0 if release is not None else 0,
        mode=release.plan.mode if release is not None else "",
        state=release.state if release is not None else "",
        percent=release.weight_percent if release is not None else 0.0,
        changed_at=release.changed_at if release is not None else "",
        replicas=len({place.replica.id for place in places}),
        alarms=len(knowledge.alarms_of.get(name, ())),
    )


def model_page(
    knowledge: Knowledge,
    name: str,
    versions: Sequence[ModelVersion],
    events: Sequence[Event],
    runs: Sequence[Run],
) -> ModelPage:
    """Return the page of a model with one more version than it shows, if it has more."""
    on_page = list(versions[:VERSIONS_A_PAGE])
    running: dict[int, int] = {}
    for place in knowledge.serving.get(name, ()):
        running[place.model.version] = running.get(place.model.version, 0) + 1
    return ModelPage(
        row=model_row(knowledge, name),
        release=knowledge.releases.get(name),
        versions=on_page,
        running=running,
        older=on_page[-1].version if len(versions) > len(on_page) else 0,
        events=list(events),
        alarms=list(knowledge.alarms_of.get(name, ())),
        runs=[run_row(run) for run in runs[:RUNS_OF_MODEL]],
        more_runs=len(runs) > RUNS_OF_MODEL,
        exposure=together(
            exposure(place.replica, knowledge.scans, place.model) for place in knowledge.serving.get(name, ())
        ),
    )
