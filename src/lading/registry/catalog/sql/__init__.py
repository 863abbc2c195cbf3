"""The catalog in SQL, for any database of SQLAlchemy: eight sets of rows over one `Database`.

Stores no bytes of bundles and writes no messages about what does not exist: `Registry` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.registry.catalog.sql.attachments import SqlAttachments
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.fleet import SqlFleet
from lading.registry.catalog.sql.jobs import SqlJobs
from lading.registry.catalog.sql.monitoring import SqlMonitoring
from lading.registry.catalog.sql.releases import SqlReleases
from lading.registry.catalog.sql.runs import SqlRuns
from lading.registry.catalog.sql.traffic import SqlTraffic
from lading.registry.catalog.sql.versions import SqlVersions

if TYPE_CHECKING:
    from lading.release.seals import Keyring


class SqlCatalog:
    """A `Catalog` over a database."""

    def __init__(self, database: Database, keyring: Keyring | None = None) -> None:
        self.database = database
        self.versions = SqlVersions(database)
        self.releases = SqlReleases(database, keyring)
        self.traffic = SqlTraffic(database)
        self.fleet = SqlFleet(database)
        self.monitoring = SqlMonitoring(database)
        self.runs = SqlRuns(database)
        self.jobs = SqlJobs(database)
        self.attachments = SqlAttachments(database)

    @property
    def where(self) -> str:
        """The name of the catalog in messages."""
        return self.database.where

    @property
    def read_only(self) -> bool:
        """Whether it can be read alone."""
        return self.database.read_only

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
