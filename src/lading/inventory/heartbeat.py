"""Keeps a server in the inventory: registers it, beats, says goodbye when it has drained.

Runs in a thread beside the server and harms it in no way: a catalog that is away is tried again at the next
beat, and whatever else goes wrong is logged. Of several workers one beats for all; if it is killed the next
one does, under the same id.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from lading.clock import iso_time
from lading.errors import LadingError
from lading.inventory.describe import describe
from lading.registry.open import open_catalog
from lading.registry.releases import Releases
from lading.replica import Replica
from lading.server.process.status import Status

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog

log = logging.getLogger("lading.inventory")

BEAT_S = 3.0
"""Five beats may be lost before a server counts as gone (`lading.replica.GONE_AFTER_S`)."""


class Beat:
    """The beat of one server into the catalog of the registry at `registry_url`."""

    def __init__(self, registry_url: str, status: Status, *, interval_s: float = BEAT_S) -> None:
        self._registry_url = registry_url
        self._status = status
        self._interval_s = interval_s
        self._catalog: Catalog | None = None
        self._last: Replica | None = None
        self._trouble = ""

    def run(self, stop: threading.Event) -> None:
        """Beat until `stop` is set, then say goodbye."""
        while not stop.is_set():
            if self._status.is_leader:
                self._tell(stopped_at="")
            stop.wait(self._interval_s)
        # Each worker says it, so that the last word is that of the last one.
        self._tell(stopped_at=iso_time(time.time()))
        if self._catalog is not None:
            self._catalog.close()

    def _tell(self, *, stopped_at: str) -> None:
        try:
            self._last = describe(self._status, self._last)
            self._beat(msgspec.structs.replace(self._last, stopped_at=stopped_at))
        except LadingError as error:
            if error.message != self._trouble:
                self._trouble = error.message
                log.warning("the inventory does not hear of this server now: %s", error.message)
        except Exception:
            # The edge of a thread: nobody else would say so, and the server is none the worse for it.
            log.exception("a beat failed; the next one tries again")
        else:
            self._trouble = ""

    def _beat(self, replica: Replica) -> None:
        if self._catalog is None:
            # Only the catalog: a server of bundles from directories may not even reach the store.
            self._catalog = open_catalog(self._registry_url)
        Releases(self._catalog, time.time).beat(replica)
