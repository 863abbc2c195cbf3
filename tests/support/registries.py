"""A registry of rows alone, for the tests of releases and of what runs."""

from __future__ import annotations

from pathlib import Path

from lading.registry import Registry
from lading.registry.cache import BundleCache
from lading.registry.open import open_catalog
from lading.registry.store.folder import FolderStore

_NOWHERE = Path("/nonexistent")


def registry_over(catalog, **options) -> Registry:
    """Return a registry whose store and cache are never used: nothing is pushed or fetched."""
    return Registry(catalog, FolderStore(_NOWHERE), BundleCache(_NOWHERE), **options)


def rows_at(url: str) -> Registry:
    """Return a registry without bundles over the catalog at `url`, with connections of its own."""
    return registry_over(open_catalog(url))
