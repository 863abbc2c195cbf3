"""A copy in a folder of the files of a log in a bucket, for readers. Writes nothing to the bucket."""

from __future__ import annotations

import os
from pathlib import Path

from lading.monitor.log.bucket import Bucket, folder_of
from lading.monitor.log.layout import HOUR_S, LABELS, began_of
from lading.settings import home


def mirrored(bucket: Bucket, model: str = "", since: float | None = None) -> Path:
    """Return the folder with the files of one model, or only with its folders if `model` is empty.

    Files of hours that ended before the Unix time `since` are not downloaded. Files that the bucket no longer
    has are removed, and those that were replaced are read again. Raises `RegistryUnavailable`.
    """
    root = folder_of(home() / "log-cache", bucket.url)
    root.mkdir(parents=True, exist_ok=True)
    if not model:
        for name in {file.name.partition("/")[0] for file in bucket.files("model=")}:
            (root / name).mkdir(exist_ok=True)
        return root
    for below in (f"model={model}/", f"{LABELS}/model={model}/"):
        # Files never change, but `lading log delete` replaces them: by size and time.
        present = set((root / below).rglob("*.parquet"))
        for file in bucket.files(below):
            path = root / file.name
            present.discard(path)
            if _is_before(path, since):
                continue
            if not _is_current(path, file.size_bytes, file.written_at):
                bucket.download(file.name, path)
                os.utime(path, (file.written_at, file.written_at))
        for path in present:
            path.unlink(missing_ok=True)
    return root


def _is_before(path: Path, since: float | None) -> bool:
    began = began_of(path.parent)
    # A label may have come by another server's clock, which is behind.
    return since is not None and began is not None and began + 2 * HOUR_S <= since


def _is_current(path: Path, size_bytes: int, written_at: float) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return status.st_size == size_bytes and abs(status.st_mtime - written_at) < 1
