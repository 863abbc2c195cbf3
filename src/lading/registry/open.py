"""Opens the catalog, the store and the cache that URLs name. Loads SQLAlchemy and httpx only if used."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lading.errors import InvalidSetting
from lading.registry.history_key import read_keyring
from lading.registry.store.folder import FolderStore
from lading.registry.store.s3 import S3Store
from lading.registry.urls import is_database, oci_repository, registry_folder, s3_bucket, store_folder
from lading.settings import cache_folder, home

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog
    from lading.registry.store import Store


def import_catalog(url: str) -> None:
    """Import what `open_catalog` needs for `url`; opens nothing."""
    if is_database(url):
        import lading.registry.catalog.postgres
    else:
        import lading.registry.catalog.sqlite  # noqa: F401


def open_catalog(url: str, *, at_once: bool = True) -> Catalog:
    """Open the catalog of a registry, a folder or ``postgresql://…``.

    Without `at_once`, a database is connected to on first use only. Raises `InvalidSetting` for keys of the
    history that cannot be read.
    """
    keyring = read_keyring()
    if is_database(url):
        from lading.registry.catalog.postgres import open_postgres

        # SQLAlchemy knows the longer name only.
        return open_postgres(url.replace("postgres://", "postgresql://", 1), at_once=at_once, keyring=keyring)
    from lading.registry.catalog.sqlite import open_sqlite

    return open_sqlite(registry_folder(url), keyring=keyring)


def open_store(url: str | None, registry: str) -> Store:
    """Open the store that `url` names, else the one in the folder of the registry."""
    if url is not None and url.startswith("oci://"):
        from lading.oci import Repository
        from lading.registry.store.oci import OciStore

        return OciStore(Repository(*oci_repository(url)))
    if url is not None and url.startswith("s3://"):
        return S3Store(*s3_bucket(url))
    if url is not None:
        return FolderStore(store_folder(url))
    if is_database(registry):
        raise InvalidSetting(
            "`LADING_STORE`",
            expected="a place for blobs: a database keeps none",
            found="none",
            hint="name a shared folder, `oci://…` or `s3://…` in `LADING_STORE` or with `store=`",
        )
    return FolderStore(Path(registry).expanduser().absolute() / "blobs")


def cache_of(registry: str) -> Path:
    """Return the folder of a registry's cache: ``LADING_CACHE``, else within its own folder or at home."""
    named = cache_folder()
    if named is not None:
        return named
    folder = None if is_database(registry) else registry_folder(registry)
    # Each registry has its own: `gc` of one does not know what another needs.
    at_home = home() / "caches" / hashlib.sha256(registry.encode()).hexdigest()[:12]
    if folder is None:
        return at_home
    cache = folder / "cache"
    # A registry may be read-only; a folder for its cache may be mounted into it all the same.
    if folder.is_dir() and not os.access(cache if cache.is_dir() else folder, os.W_OK):
        return at_home
    return cache
