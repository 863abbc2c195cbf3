"""Opens the place that a path or URL names. Loads what reads buckets only for one of them."""

from __future__ import annotations

from pathlib import Path

from lading.batch.objects import is_url
from lading.batch.places import Place
from lading.batch.places.folder import FolderPlace


def open_place(output: Path | str) -> Place:
    """Return the place at `output`. Raises `UsageError` for a URL that names none."""
    if is_url(output):
        from lading.batch.places.bucket import BucketPlace

        return BucketPlace(str(output))
    return FolderPlace(Path(output))
