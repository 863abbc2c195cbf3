"""From URLs to a catalog, a store and a cache. What is not used is not imported; no password is shown."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from lading.errors import InvalidSetting
from lading.registry.urls import without_secrets
from lading.settings import cache_folder, home

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog
    from lading.registry.store import Store

_DATABASES = ("postgresql://", "postgres://")


def is_database(url: str) -> bool:
    """Return whether a registry's URL names a database, and not a folder."""
    return url.startswith(_DATABASES)


def import_catalog(url: str) -> None:
    """Import what `open_catalog` needs for `url`; opens nothing."""
    if is_database(url):
        import lading.registry.catalog.postgres
    else:
        import lading.registry.catalog.sqlite  # noqa: F401


def open_catalog(url: str, *, at_once: bool = True) -> Catalog:
    """Open the catalog of a registry, a folder or ``postgresql://…``.

    A database is asked only when it is first used if not `at_once`.
    """
    if is_database(url):
        from lading.registry.catalog.postgres import open_postgres

        return open_postgres(url.replace("postgres://", "postgresql://", 1), at_once=at_once)
    from lading.registry.catalog.sqlite import open_sqlite

    return open_sqlite(_registry_folder(url))


def open_store(url: str | None, registry: str) -> Store:
    """Open the store that `url` names, else the one in the folder of the registry."""
    from lading.registry.store.folder import FolderStore

    if url is not None and url.startswith("oci://"):
        from lading.oci import Repository
        from lading.registry.store.oci import OciStore

        host, _, name = url.removeprefix("oci://").partition("/")
        if "@" in url:
            raise _user_refused(url, "oci://host/repository", "`docker login` says who you are")
        return OciStore(Repository(host, name.strip("/")))
    if url is not None and url.startswith("s3://"):
        from lading.registry.store.s3 import S3Store

        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if "@" in bucket or (":" in bucket and "@" in prefix):
            raise _user_refused(url, "s3://bucket/prefix", "set `AWS_ACCESS_KEY_ID` and so on, or a profile")
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
    """Return the folder of a registry's unpacked bundles: ``LADING_CACHE``, else within its own, or at home.

    Each registry has its own: `gc` of one knows nothing of what another needs.
    """
    named = cache_folder()
    if named is not None:
        return named
    if is_database(registry):
        return home() / "caches" / hashlib.sha256(registry.encode()).hexdigest()[:12]
    return _registry_folder(registry) / "cache"


def _registry_folder(url: str) -> Path:
    return _folder(url, "registry", "a folder or postgresql://…")


def _folder(url: str, what: str, expected: str) -> Path:
    if "://" in url:
        raise InvalidSetting(what, expected=expected, found=f"`{without_secrets(url)}`")
    return Path(url).expanduser().absolute()


def _user_refused(url: str, expected: str, hint: str) -> InvalidSetting:
    return InvalidSetting("store", expected=f"`{expected}`", found=f"`{without_secrets(url)}`", hint=hint)
