"""Scans of everything that runs, made again when a feed or what runs has changed, kept in the registry."""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lading.errors import InvalidSetting, LadingError, NotFound
from lading.ref import Ref
from lading.trust.components import Component, Subject, bundle_components, bundle_subject, merged
from lading.trust.feeds.folder import read_feeds
from lading.trust.records import record_scan
from lading.trust.running import has_environment, server_subject
from lading.trust.sbom import read_sbom
from lading.trust.scan import MAX_AGE_DAYS, Scan, check_ages, scan

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.replica import Replica

LOOK_EVERY_S = 30.0
"""How often the folder of feeds and the list of servers are looked at."""

log = logging.getLogger("lading.scan")

_Listed = tuple[Subject, tuple[Component, ...]]


class RunningScanner:
    """Scans what the servers of a registry run against the feeds in `folder`. Used by one thread."""

    def __init__(
        self,
        registry: Registry,
        folder: Path,
        *,
        actor: str,
        max_age_days: float = MAX_AGE_DAYS,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`actor` is recorded with each scan; `clock` is that of the catalog, if it is not another."""
        self._registry = registry
        self._folder = folder
        self._actor = actor
        self._max_age_days = max_age_days
        self._clock = clock or registry.fleet.now
        self._seen: object = None
        # By digest: what a bundle consists of never changes.
        self._listed: dict[str, _Listed] = {}

    def turn(self) -> dict[str, Scan] | None:
        """Scan and record everything if anything has changed since the last turn; return scans by digest.

        Returns None if nothing has. Raises `FeedInvalid` and `FeedStale`.
        """
        running = [replica for replica in self._registry.fleet.replicas() if not replica.gone]
        subjects = self._subjects(running)
        # A day is a change as well: ends of life come, and feeds become stale.
        day = int(self._clock() // 86_400)
        seen = (feeds_state(self._folder), sorted(subjects), day)
        if seen == self._seen:
            return None
        now = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        feeds = read_feeds(self._folder, merged(*(components for _, components in subjects.values())))
        check_ages(feeds.states, now, self._max_age_days)
        scans = {
            digest: scan(subject, components, feeds, now)
            for digest, (subject, components) in subjects.items()
        }
        for digest, made in scans.items():
            if made.was_checked:
                record_scan(self._registry.attachments, [digest], made, actor=self._actor)
        # Last, so that what failed is tried again at the next turn.
        self._seen = seen
        return scans

    def run(self, stop: threading.Event, every_s: float = LOOK_EVERY_S) -> None:
        """Take turns until `stop` is set; what fails is logged once, and tried again."""
        failed = ""
        while True:
            try:
                scans = self.turn()
            except LadingError as error:
                if error.message != failed:
                    log.warning("what runs is not scanned: %s", error.message)
                failed = error.message
            else:
                failed = ""
                if scans:
                    log.info("what runs has been scanned; sets of packages: %d", len(scans))
            if stop.wait(every_s):
                return

    def _subjects(self, running: list[Replica]) -> dict[str, _Listed]:
        subjects: dict[str, _Listed] = {}
        for replica in running:
            if replica.packages:
                listed = server_subject(replica)
                subjects[listed[0].digest] = listed
            if replica.image and (known := self._image(replica.image)) is not None:
                subjects[replica.image] = known
            for model in replica.models:
                if has_environment(model) and model.digest:
                    known = self._bundle(model.name, model.digest)
                    if known is not None:
                        subjects[model.digest] = known
        return subjects

    def _image(self, digest: str) -> _Listed | None:
        """Return what the document of an image lists, if `lading sbom IMAGE --record` has attached one."""
        # The last one: an image is listed again when it is built again under the same runtime.
        attached = [each for each in self._registry.attachments.listed([digest]) if each.kind == "sbom"]
        if not attached:
            return None
        last = attached[-1].id
        if last not in self._listed:
            body = next(
                each.body for each in self._registry.attachments.of(digest, "sbom") if each.id == last
            )
            try:
                subject, components = read_sbom(body, f"SBOM of `{digest[:19]}`")
            except InvalidSetting as error:
                log.warning("an image is not scanned: %s", error.message)
                return None
            subject = msgspec.structs.replace(subject, kind="image", digest=digest)
            self._listed[last] = (subject, components)
        return self._listed[last]

    def _bundle(self, name: str, digest: str) -> _Listed | None:
        if digest not in self._listed:
            try:
                bundle = self._registry.fetch(Ref(name, digest=digest))
            except NotFound:
                return None  # Served from a folder, or removed from the registry since.
            self._listed[digest] = (bundle_subject(bundle), bundle_components(bundle))
        return self._listed[digest]


def feeds_state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return the files of a folder with their sizes and times, by which a change of it is noticed."""
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    states = []
    for path in files:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # Replaced while this looked: it is a change at the next look.
        states.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(states)
