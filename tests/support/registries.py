"""A registry of rows alone, for the tests of releases and of what runs."""

from __future__ import annotations

from pathlib import Path

from lading.registry import Registry
from lading.registry.cache import BundleCache
from lading.registry.open import open_catalog
from lading.registry.store.folder import FolderStore

_NOWHERE = Path("/nonexistent")


class Unchecked:
    """Lets every version be released: rows have no bundle that could be proved or compared."""

    def proof(self, version):  # noqa: ARG002
        return None

    def compare(self, version, live, *, force):  # noqa: ARG002
        return ()


def registry_over(catalog, **options) -> Registry:
    """Return a registry whose store and cache are never used: nothing is pushed or fetched."""
    options.setdefault("release_check", Unchecked())
    return Registry(catalog, FolderStore(_NOWHERE), BundleCache(_NOWHERE), **options)


def rows_at(url: str) -> Registry:
    """Return a registry without bundles over the catalog at `url`, with connections of its own."""
    return registry_over(open_catalog(url))
