"""The fleet of a registry: the replicas that run, and the leases that one process holds at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lading.errors import UsageError
from lading.replica import GONE_AFTER_S
from lading.settings import store_settings

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog
    from lading.registry.records import Removed
    from lading.replica import Replica


class Fleet:
    """The replicas and leases in a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._rows = catalog.fleet

    def now(self) -> float:
        """Return the Unix time of the catalog's clock, which is the same for all hosts."""
        return self._rows.now()

    def beat(self, replica: Replica) -> None:
        """Store a heartbeat: what a replica reports, and that it is alive."""
        self._rows.beat(replica)

    def replicas(self, *, include_gone_days: float | None = None) -> list[Replica]:
        """Return replicas by id, those gone for as many days included; `Replica.gone` tells them apart.

        Without a number of days: for as long as they are kept, which ``LADING_GONE_DAYS`` says.
        """
        days = store_settings().gone_days if include_gone_days is None else include_gone_days
        # At least those that run: a replica counts as gone only after some missed heartbeats.
        return self._rows.replicas(max(GONE_AFTER_S, days * 86400))

    def forget(self, replica_id: str) -> bool:
        """Remove a replica; return whether it existed. The next heartbeat brings it back."""
        return self._rows.forget(replica_id)

    def lease(self, resource: str, holder: str, ttl_s: float) -> bool:
        """Take or renew a lease by the catalog's clock; return whether `holder` holds it now.

        It may expire while its holder sleeps: what is done under it must be safe against another holder, as
        `Releases.change` is.
        """
        if not (ttl_s > 0 and math.isfinite(ttl_s)):
            raise UsageError(f"lease `{resource}`", expected="a time above 0", found=f"`{ttl_s}`")
        return self._rows.lease(resource, holder, ttl_s)

    def release_lease(self, resource: str, holder: str) -> None:
        """End a lease, so that another process need not wait until it expires."""
        self._rows.release_lease(resource, holder)

    def lease_holder(self, resource: str) -> str | None:
        """Return who holds a lease now, or None if nobody does or it has expired."""
        return self._rows.lease_holder(resource)

    def prune(self, *, dry_run: bool) -> list[Removed]:
        """Remove replicas that have been gone for longer than ``LADING_GONE_DAYS``."""
        return self._rows.prune(store_settings().gone_days * 86400, dry_run=dry_run)
