"""Every catalog and every store: a new one joins by adding its name and a branch below.

The fixtures that begin with ``open`` return a function that opens the same place again, as another process
does.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lading.bundle import Bundle
from lading.registry import Registry
from lading.registry import open as places
from lading.registry.cache import BundleCache
from lading.registry.catalog import Catalog
from lading.registry.store import Store
from support.bundles import linear_bundle
from support.registries import registry_over
from support.release_processes import new_version

CATALOGS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
STORES = ["folder", *(pytest.param(name, marks=pytest.mark.slow) for name in ("oci", "s3"))]
TICK_S = {"folder": 0.05, "oci": 0.05, "s3": 1.1}
"""How long to wait until a store shows another time for a blob."""


@pytest.fixture(params=CATALOGS)
def catalog_url(request, tmp_path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").database()
    return str(tmp_path / "registry")


@pytest.fixture
def open_catalog(catalog_url) -> Callable[[], Catalog]:
    opened: list[Catalog] = []

    def opens() -> Catalog:
        opened.append(places.open_catalog(catalog_url))
        return opened[-1]

    yield opens
    for catalog in opened:
        catalog.close()


@pytest.fixture(params=STORES)
def open_store(request, tmp_path) -> Callable[[], Store]:
    if request.param == "folder":
        url = str(tmp_path / "registry" / "blobs")
    else:
        url = request.getfixturevalue(f"{request.param}_url")
    opened: list[Store] = []

    def opens() -> Store:
        opened.append(places.open_store(url, str(tmp_path)))
        return opened[-1]

    yield opens
    for store in opened:
        store.close()


@pytest.fixture
def tick_s(request) -> float:
    return TICK_S[request.node.callspec.params["open_store"]]


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


@pytest.fixture
def three_versions(catalog) -> Registry:
    """A registry of rows alone with versions 1 to 3 of `iris`, over every catalog."""
    for number in (1, 2, 3):
        catalog.versions.add(new_version(bundle=number), (), lambda: None)
    return registry_over(catalog)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return [linear_bundle(folder / str(seed), seed=seed) for seed in range(3)]


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    return linear_bundle(tmp_path / "iris.bundle")


@pytest.fixture
def root(tmp_path) -> Path:
    """The folder of a registry, which does not exist yet."""
    return tmp_path / "registry"


@pytest.fixture
def folder_registry(root) -> Iterator[Registry]:
    """A registry in a folder, its store and its cache included."""
    with Registry.open(str(root)) as opened:
        yield opened


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def attachments(open_catalog):
    return registry_over(open_catalog()).attachments
