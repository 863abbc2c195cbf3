"""The contract of catalogs: rows about models and what is known of them, in SQLite or in PostgreSQL.

Holds contracts alone, one file for each of the eight parts. ``sql`` implements them over either database.
"""

from __future__ import annotations

from typing import Protocol

from lading.registry.catalog.attachments import AttachmentCatalog
from lading.registry.catalog.fleet import FleetCatalog
from lading.registry.catalog.jobs import JobCatalog
from lading.registry.catalog.monitoring import MonitoringCatalog
from lading.registry.catalog.releases import Decide, ReleaseCatalog, Writes
from lading.registry.catalog.runs import RunCatalog
from lading.registry.catalog.traffic import TrafficCatalog
from lading.registry.catalog.versions import VersionCatalog

__all__ = [
    "AttachmentCatalog",
    "Catalog",
    "Decide",
    "FleetCatalog",
    "JobCatalog",
    "MonitoringCatalog",
    "ReleaseCatalog",
    "RunCatalog",
    "TrafficCatalog",
    "VersionCatalog",
    "Writes",
]


class Catalog(Protocol):
    """Eight sets of rows in one database. Every method of them may raise `RegistryUnavailable`.

    Each method is one transaction; two that change the same model wait for each other. What does not exist is
    answered with None or False: `Registry` writes the messages.
    """

    @property
    def where(self) -> str:
        """The name of the catalog in messages: a folder or URL."""

    @property
    def read_only(self) -> bool:
        """Whether it can be read alone: what would write raises `RegistryReadOnly`."""

    @property
    def versions(self) -> VersionCatalog:
        """Versions, tags and evidence."""

    @property
    def releases(self) -> ReleaseCatalog:
        """Releases and their events."""

    @property
    def traffic(self) -> TrafficCatalog:
        """Windows of live traffic, and feedback on its way."""

    @property
    def fleet(self) -> FleetCatalog:
        """Replicas and leases."""

    @property
    def monitoring(self) -> MonitoringCatalog:
        """Windows of columns, baselines, and alarms."""

    @property
    def runs(self) -> RunCatalog:
        """Runs over data sets."""

    @property
    def jobs(self) -> JobCatalog:
        """The queue of jobs, and their results."""

    @property
    def attachments(self) -> AttachmentCatalog:
        """What is attached to digests."""

    def close(self) -> None:
        """Close all connections; they open again when used."""
