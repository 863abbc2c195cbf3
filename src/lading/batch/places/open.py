"""Opens the place that a path or URL names."""

from __future__ import annotations

from pathlib import Path

from lading.batch.objects import is_url
from lading.batch.places import Place
from lading.batch.places.bucket import BucketPlace
from lading.batch.places.folder import FolderPlace


def open_place(output: Path | str) -> Place:
    """Return the place at `output`. Raises `UsageError` for a URL that names none."""
    return BucketPlace(str(output)) if is_url(output) else FolderPlace(Path(output))
