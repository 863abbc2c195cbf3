"""The contract of a catalog's rows about what runs: replicas and leases, by the catalog's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lading.registry.records import Removed
    from lading.replica import Replica


class FleetCatalog(Protocol):
    """Replicas and leases."""

    def now(self) -> float:
        """Return the Unix time of the catalog's clock."""

    def lease(self, resource: str, holder: str, ttl_s: float) -> bool:
        """Take or renew a lease unless another holds one that has not expired; return whether it is held."""

    def release_lease(self, resource: str, holder: str) -> None:
        """End a lease if `holder` holds it."""

    def lease_holder(self, resource: str) -> str | None:
        """Return who holds a lease now, or None if nobody does."""

    def beat(self, replica: Replica) -> None:
        """Store what a replica reports, and when, by the catalog's clock."""

    def replicas(self, silent_s: float) -> list[Replica]:
        """Return the replicas whose last heartbeat is at most `silent_s` old, by id."""

    def forget(self, replica_id: str) -> bool:
        """Remove a replica; return whether it existed."""

    def prune(self, older_than_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove replicas whose last heartbeat is older than that."""
