"""Delivers windows of columns to the catalog, and fetches the baselines that they are counted by.

Runs in a thread beside the server, in every worker. While the catalog is unreachable windows are kept, up to
a number; requests are never the worse for it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from lading.errors import RegistryReadOnly, RegistryUnavailable
from lading.profile.encoding import decode, encode
from lading.registry.monitoring import Monitoring
from lading.registry.open import open_catalog
from lading.server.observe.failure_log import FailureLog

if TYPE_CHECKING:
    from lading.profile import Profile
    from lading.registry.catalog import Catalog
    from lading.server.observe.columns import ColumnWindows

log = logging.getLogger("lading.server")

INTERVAL_S = 2.0
BASELINES_EVERY_S = 10.0


class ColumnReports:
    """The reports of one process to the catalog of the registry at `registry_url`."""

    def __init__(self, registry_url: str, columns: ColumnWindows, *, interval_s: float = INTERVAL_S) -> None:
        self._registry_url = registry_url
        self._columns = columns
        self._interval_s = interval_s
        self._catalog: Catalog | None = None
        self._failures = FailureLog()
        self._waits = False
        self._sent: set[str] = set()  # Digests of profiles that the catalog has.
        self._baselines_due_at = 0.0
        self._baselines: dict[str, str] = {}  # The JSON of each, by model.

    def run(self, stop: threading.Event) -> None:
        """Deliver windows until `stop` is set, then the last ones; return at once if that is not possible."""
        try:
            while not stop.is_set():
                self._try()
                stop.wait(self._interval_s)
            # A server that ends reports what it has, though its last window is short.
            self._columns.rotate(time.time(), last=True)
            self._try()
        except RegistryReadOnly as error:
            log.warning("columns are not watched: %s", error.message)
        finally:
            if self._catalog is not None:
                self._catalog.close()

    def _try(self) -> None:
        """Take a turn; an outage of the catalog is logged once, and waited for."""
        try:
            self._turn()
        except RegistryReadOnly:
            raise
        except RegistryUnavailable as error:
            if not self._waits:
                log.warning("catalog unreachable; windows of columns wait: %s", error.message)
            self._waits = True
        else:
            self._waits = False

    def _turn(self) -> None:
        self._columns.rotate(time.time())
        with self._failures.guard("delivering windows of columns"):
            if self._catalog is None:
                # The catalog alone: a server of bundles from directories may not reach the store.
                self._catalog = open_catalog(self._registry_url)
            monitoring = Monitoring(self._catalog)
            if time.monotonic() >= self._baselines_due_at:
                self._read_baselines(monitoring)
                self._baselines_due_at = time.monotonic() + BASELINES_EVERY_S
            self._deliver(monitoring)

    def _deliver(self, monitoring: Monitoring) -> None:
        windows = self._columns.drain()
        try:
            for digest in {window.profile for window in windows} - self._sent:
                # Before the windows: nobody ever reads a window whose profile is missing.
                monitoring.add_profile(digest, encode(self._columns.profiles[digest]))
                self._sent.add(digest)
            monitoring.add_windows(windows)
        except RegistryUnavailable:
            # A window has an id: one that was delivered all the same still counts once.
            self._columns.put_back(windows)
            raise

    def _read_baselines(self, monitoring: Monitoring) -> None:
        stored = {baseline.name: baseline.profile for baseline in monitoring.baselines() if baseline.profile}
        # Setting the same ones would end every window early, each time that they are read.
        if stored == self._baselines:
            return
        profiles: dict[str, Profile] = {}
        for name, body in stored.items():
            try:
                profiles[name] = decode(body.encode())
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                log.warning("the baseline of %s cannot be read, its bundles' profiles count: %s", name, error)
        self._columns.set_baselines(profiles)
        self._baselines = stored
