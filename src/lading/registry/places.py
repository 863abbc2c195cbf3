"""From URLs to a catalog, a store and a cache. What is not used is not imported."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from lading.errors import InvalidSetting
from lading.settings import cache_folder, home

if TYPE_CHECKING:
    from lading.registry import Catalog, Store

_DATABASES = ("postgresql://", "postgres://")


def is_database(url: str) -> bool:
    """Tell whether a registry's URL names a database, and not a folder."""
    return url.startswith(_DATABASES)


def open_catalog(url: str) -> Catalog:
    """Open the catalog of a registry: a folder or ``postgresql://…``."""
    if is_database(url):
        from lading.registry.postgres import open_postgres

        return open_postgres(url.replace("postgres://", "postgresql://", 1))
    from lading.registry.sqlite import open_sqlite

    return open_sqlite(_folder(url, "registry", "a folder or postgresql://…"))


def open_store(url: str | None, registry: str) -> Store:
    """Open the store that `url` names, else the one in the folder of the registry."""
    from lading.registry.folder import FolderStore

    if url is not None and url.startswith("oci://"):
        from lading.registry.distribution import Repository
        from lading.registry.oci import OciStore

        host, _, name = url.removeprefix("oci://").partition("/")
        return OciStore(Repository(host, name.strip("/")))
    if url is not None and url.startswith("s3://"):
        from lading.registry.s3 import S3Store

        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return S3Store(bucket, prefix.strip("/"))
    if url is not None:
        return FolderStore(_folder(url, "store", "a folder, oci://… or s3://…"))
    if is_database(registry):
        raise InvalidSetting(
            "`LADING_STORE`",
            expected="a place for blobs: a database keeps none",
            found="none",
            hint="name a shared folder, `oci://…` or `s3://…` in `LADING_STORE` or with `store=`",
        )
    return FolderStore(Path(registry).expanduser().absolute() / "blobs")


def cache_of(registry: str) -> Path:
    """Give the folder of a registry's unpacked bundles: ``LADING_CACHE``, else within its own, or at home.

    Each registry has its own: `gc` of one knows nothing of what another needs.
    """
    named = cache_folder()
    if named is not None:
        return named
    if is_database(registry):
        return home() / "caches" / hashlib.sha256(registry.encode()).hexdigest()[:12]
    return _folder(registry, "registry", "a folder") / "cache"


def _folder(url: str, what: str, expected: str) -> Path:
    if "://" in url:
        raise InvalidSetting(what, expected=expected, found=f"`{url}`")
    return Path(url).expanduser().absolute()
