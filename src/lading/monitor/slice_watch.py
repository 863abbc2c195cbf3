"""Decay by slice for every live version whose bundle states slices: an hour of labels at a time, from a log.

The log is read in a thread, for which a turn of the monitor waits a little; what takes longer is for a later
turn. What cannot be read is said once, and tried again. Holds no lease: the driver does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lading.errors import LadingError, NotFound, mid_sentence, missing_extra, one_line
from lading.monitor.discoveries import ALPHA
from lading.monitor.slice_tests import HOUR_S, PREFIX, SliceTests, add_hour, close, key_of, read_tests
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.alarms import Alarm
    from lading.bundle import Manifest
    from lading.registry import ModelVersion, Registry

log = logging.getLogger("lading.monitor")

GRACE_S = 300.0
"""How long after its end an hour is counted: writers have its last labels on the disk by then."""

_WAIT_S = 1.0
_RETRY_S = 300.0
_FORGOTTEN_AFTER_S = 31 * 86_400.0
"""Labels that could not be counted for so long are left out: by default, so does the log."""


class SliceWatch:
    """The tests of all live versions with slices, in the process that leads; reads the log at `log_url`.

    A turn waits at most `wait_s` for what is read. What failed is tried again after `retry_s`.
    """

    def __init__(
        self,
        registry: Registry,
        log_url: str,
        *,
        alpha: float = ALPHA,
        wait_s: float = _WAIT_S,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._registry = registry
        self._log_url = log_url
        self._alpha = alpha
        self._wait_s = wait_s
        self._retry_s = retry_s
        self._tests: dict[str, SliceTests] = {}
        self._changed: set[str] = set()
        self._removed: set[str] = set()
        self._live: dict[str, tuple[ModelVersion, int]] = {}  # By key, with the number of the release.
        self._hour = 0.0
        self._reading: _Reading | None = None
        self._retry_at: dict[str, float] = {}  # By key, on the monotonic clock.
        self._manifests: dict[str, Manifest] = {}  # By digest, which states the same for ever.
        self._unknown: set[str] = set()  # Keys of versions of which not even the manifest could be read.

    def load(self, states: dict[str, str]) -> None:
        """Begin with what is stored; takes its own states out of `states`."""
        self._tests, self._changed, self._removed, self._hour = {}, set(), set(), 0.0
        for key in [key for key in states if key.startswith(PREFIX)]:
            tests = read_tests(states.pop(key))
            if tests is not None:
                self._tests[key] = tests
            else:
                log.warning("the tests of %s begin again: another version of lading has stored them", key)

    @property
    def must_save(self) -> bool:
        """Whether anything is to be stored."""
        return bool(self._changed or self._removed)

    def unsaved(self) -> tuple[dict[str, SliceTests], list[str]]:
        """Return the tests that changed since `saved`, by key, and the keys of those that are over."""
        return {key: self._tests[key] for key in self._changed}, sorted(self._removed)

    def saved(self) -> None:
        """Note that what `unsaved` returned is stored."""
        self._changed, self._removed = set(), set()

    def alarms(self) -> Iterable[Alarm]:
        """Return the open alarms."""
        return [alarm for tests in self._tests.values() for alarm in tests.alarms.values()]

    def turn(self, now: float, answering: Iterable[tuple[str, int]]) -> list[Alarm]:
        """Test the hours that are over at the Unix time `now`; return the alarms that changed.

        `answering` are names and versions that answer, which count for models without a release.
        """
        hour = (now - GRACE_S) // HOUR_S * HOUR_S
        changed: list[Alarm] = []
        if hour != self._hour:
            changed += self._look_again(answering, now)
            self._hour = hour
        deadline = time.monotonic() + self._wait_s
        while True:
            reading = self._reading or self._next()
            if reading is None:
                return changed
            self._reading = reading
            if not reading.join(max(0.0, deadline - time.monotonic())):
                return changed
            self._reading = None
            changed += self._take(reading)

    def _look_again(self, answering: Iterable[tuple[str, int]], now: float) -> list[Alarm]:
        """Note which versions are live; return the alarms of others, ended."""
        self._live = {}
        releases = {release.name: release for release in self._registry.releases.wanted()}
        for name, release in releases.items():
            if release.live is not None:
                self._note_live(Ref(name, version=release.live), release.number)
        for name, version in answering:
            if name not in releases:
                self._note_live(Ref(name, version=version), 0)
        changed = []
        for key in [key for key in self._tests if key not in self._live]:
            changed += close(self._tests.pop(key), now)
            self._changed.discard(key)
            self._removed.add(key)
        for alarm in changed:
            log.info("%s:%s: `%s` is over", alarm.name, alarm.version, alarm.subject)
        return changed

    def _note_live(self, ref: Ref, release: int) -> None:
        try:
            version = self._registry.resolve(ref)
        except NotFound as error:  # It was removed since. A catalog that is unreachable ends the turn.
            log.info("slices of `%s` are not watched: %s", ref, error.message)
            return
        self._live[key_of(version.name, version.digest)] = (version, release)

    def _next(self) -> _Reading | None:
        """Begin to read the next hour that is due, if there is one."""
        for key, (version, release) in self._live.items():
            tests, manifest = self._tests.get(key), self._manifests.get(version.digest)
            is_plain = manifest is not None and not manifest.slices
            if is_plain or self._retry_at.get(key, 0.0) > time.monotonic():
                continue
            # The first look only notes the hour: labels of before it belong to no known span.
            since = self._hour if tests is None else max(tests.counted_until, self._hour - _FORGOTTEN_AFTER_S)
            is_done = tests is not None and since >= self._hour
            # A log that could not be read is looked at before the hour is over: it may only have been new.
            if tests is not None and is_done and not tests.unread:
                continue
            until = since if tests is None or is_done else since + HOUR_S
            hour = _Hour(version, release, since, until)
            return _Reading(self._registry, self._log_url, hour, manifest)
        return None

    def _take(self, reading: _Reading) -> list[Alarm]:
        """Test what was read; return new alarms."""
        hour, failure = reading.hour, reading.failure
        key = key_of(hour.version.name, hour.version.digest)
        if failure:
            self._retry_at[key] = time.monotonic() + self._retry_s
        tests = self._tests.get(key)
        if reading.manifest is None and tests is None:
            # Most models have no slices: of one that may have none nothing is stored.
            if key not in self._unknown:
                self._unknown.add(key)
                log.warning("whether `%s` has slices is not known: %s", hour.version.ref, failure)
            return []
        if reading.manifest is not None:
            self._manifests[hour.version.digest] = reading.manifest
            if not reading.manifest.slices:
                return []
        if tests is None and hour.since == hour.until:
            tests = self._tests[key] = hour.begun()
            self._changed.add(key)
        # Otherwise another process has led meanwhile, or another version went live.
        if tests is None or key not in self._live or hour.since < tests.counted_until:
            return []
        return self._test(tests, hour, reading)

    def _test(self, tests: SliceTests, hour: _Hour, reading: _Reading) -> list[Alarm]:
        if tests.unread != reading.failure:
            tests.unread = reading.failure
            self._changed.add(tests.key)
            if reading.failure:
                log.warning("the slices of `%s` are not tested: %s", hour.version.ref, reading.failure)
            else:
                log.info("the slices of `%s` are tested again", hour.version.ref)
        if reading.failure or hour.since == hour.until:
            return []
        self._changed.add(tests.key)
        tests.counted_until, tests.release = hour.since, hour.release
        raised = add_hour(tests, reading.counts, self._alpha)
        for alarm in raised:
            log.warning("%s:%s: %s", alarm.name, alarm.version, alarm.text)
        return raised


@dataclass(frozen=True)
class _Hour:
    """What is to be read: the labels of a version that came between two Unix times."""

    version: ModelVersion
    release: int
    since: float
    until: float

    def begun(self) -> SliceTests:
        """Return the tests of the version before the first hour."""
        version = self.version
        return SliceTests(version.name, version.version, version.digest, self.release, self.since)


class _Reading:
    """One hour that is read in a thread: its counts, or why there are none, and the manifest if known."""

    def __init__(self, registry: Registry, log_url: str, hour: _Hour, manifest: Manifest | None) -> None:
        self.hour = hour
        self.manifest = manifest
        self.counts: dict[str, tuple[int, int]] = {}
        self.failure = ""
        # A daemon: a process that ends does not wait for a log.
        self._thread = threading.Thread(
            target=self._run, args=(registry, log_url), name="slices", daemon=True
        )
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end, at most `timeout_s`; return whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self, registry: Registry, log_url: str) -> None:
        version = self.hour.version
        try:
            self.manifest = self.manifest or registry.manifest(version)
            if self.manifest.slices:
                self.counts = self._count(registry, log_url, self.manifest)
        except LadingError as error:
            self.failure = mid_sentence(error.message)
        except Exception as error:  # The edge of a thread: whatever it is, the other tests go on.
            log.exception("the slices of `%s` could not be counted", version.ref)
            self.failure = one_line(error)

    def _count(self, registry: Registry, log_url: str, manifest: Manifest) -> dict[str, tuple[int, int]]:
        try:
            from lading.monitor.log.reader import open_log
            from lading.monitor.slice_counts import count_slices
        except ModuleNotFoundError as error:
            if (error.name or "lading").startswith("lading"):
                raise
            raise missing_extra("the prediction log", "monitor", error) from None
        hour, reader = self.hour, open_log(log_url, modest=True)
        return count_slices(registry, reader, hour.version, manifest, hour.since, hour.until)
