"""Every catalog and every store that there is: a new one joins by adding its name and a branch below.

A fixture gives a function that opens one and the same place again and again, as other processes would.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from lading.registry import Catalog, Registry, Store
from lading.registry.cache import BundleCache
from lading.registry.folder import FolderStore
from lading.registry.sqlite import open_sqlite

CATALOGS = ["sqlite"]
STORES = ["folder"]


@pytest.fixture(params=CATALOGS)
def open_catalog(request, tmp_path) -> Callable[[], Catalog]:
    opened: list[Catalog] = []

    def opens() -> Catalog:
        assert request.param == "sqlite"
        opened.append(open_sqlite(tmp_path / "registry"))
        return opened[-1]

    yield opens
    for catalog in opened:
        catalog.close()


@pytest.fixture(params=STORES)
def open_store(request, tmp_path) -> Callable[[], Store]:
    def opens() -> Store:
        assert request.param == "folder"
        return FolderStore(tmp_path / "registry" / "blobs")

    return opens


@pytest.fixture
def catalog(open_catalog) -> Catalog:
    return open_catalog()


@pytest.fixture
def store(open_store) -> Store:
    return open_store()


@pytest.fixture
def open_registry(open_catalog, open_store, tmp_path) -> Callable[[], Registry]:
    """Open the same registry each time, but with a cache of its own, as on another machine."""
    numbers = itertools.count()

    def opens(**changes: object) -> Registry:
        cache = BundleCache(tmp_path / f"cache-{next(numbers)}")
        return Registry(open_catalog(), open_store(), cache, **changes)

    return opens


@pytest.fixture
def registry(open_registry) -> Registry:
    return open_registry()
