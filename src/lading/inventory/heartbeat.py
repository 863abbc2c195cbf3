"""Keeps a server in the inventory: registers it, sends heartbeats, and signs it off when it has drained.

Runs in a thread beside the server and never harms it: a catalog that is unreachable is tried again at the
next heartbeat, and any other failure is logged. Of several workers, one sends for all; if it is killed, the
next one does, under the same id.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from lading.clock import iso_time
from lading.errors import LadingError, RegistryReadOnly
from lading.inventory.describe import describe
from lading.registry.open import open_catalog
from lading.replica import Replica
from lading.server.process.status import Status

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog

log = logging.getLogger("lading.inventory")

HEARTBEAT_S = 3.0
"""Five heartbeats may be lost before a server counts as gone (`lading.replica.GONE_AFTER_S`)."""


class Heartbeat:
    """The heartbeat of one server to the catalog of the registry at `registry_url`."""

    def __init__(self, registry_url: str, status: Status, *, interval_s: float = HEARTBEAT_S) -> None:
        self._registry_url = registry_url
        self._status = status
        self._interval_s = interval_s
        self._catalog: Catalog | None = None
        self._last: Replica | None = None
        self._logged_failure = ""
        self._is_read_only = False

    def run(self, stop: threading.Event) -> None:
        """Send heartbeats until `stop` is set, then sign the server off."""
        while not stop.is_set() and not self._is_read_only:
            if self._status.is_leader:
                self._send(stopped_at="")
            stop.wait(self._interval_s)
        # Every worker does, because none knows whether it is the last: the last one's time is what stays.
        if not self._is_read_only:
            self._send(stopped_at=iso_time(time.time()))
        if self._catalog is not None:
            self._catalog.close()

    def _send(self, *, stopped_at: str) -> None:
        try:
            self._last = describe(self._status, self._last)
            self._write(msgspec.structs.replace(self._last, stopped_at=stopped_at))
        except RegistryReadOnly as error:
            self._is_read_only = True
            log.warning("this server is not in the inventory: %s", error.message)
        except LadingError as error:
            # Logged once per cause, not every three seconds.
            if error.message != self._logged_failure:
                self._logged_failure = error.message
                log.warning("cannot send heartbeats to the inventory, retrying: %s", error.message)
        except Exception:
            # The thread's outermost frame: nothing else would report it, and the server must keep serving.
            log.exception("a heartbeat failed, retrying with the next one")
        else:
            self._logged_failure = ""

    def _write(self, replica: Replica) -> None:
        if self._catalog is None:
            # The catalog alone: a server of bundles from directories may not even be able to reach the store.
            self._catalog = open_catalog(self._registry_url)
        self._catalog.fleet.beat(replica)
