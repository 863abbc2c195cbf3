"""A log in a bucket: files made in a local folder are sent there, and kept while it is unreachable.

Their names below ``s3://bucket/prefix`` are those below the folder of a log. Makes no Parquet files.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from lading.clock import back_off_s
from lading.errors import RegistryUnavailable
from lading.monitor.log.layout import HOUR_S, LABELS, began_of, hour_folders
from lading.monitor.log.segments import segment_paths
from lading.registry.store.s3 import s3_client
from lading.registry.store.s3.errors import s3_errors
from lading.registry.urls import s3_bucket

log = logging.getLogger("lading.log")

_TURN_S = 5.0
_MOST_PAUSE_S = 60.0
_LIMITS_S = 3600.0
_DAY_S = 86_400


class StoredFile(NamedTuple):
    """A file of a log in a bucket: its name below the prefix, its size, and when it was written."""

    name: str
    size_bytes: int
    written_at: float


class Bucket:
    """The files of a log at ``s3://bucket/prefix``. Every method raises `RegistryUnavailable`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._bucket, prefix = s3_bucket(url)
        self._prefix = f"{prefix}/" if prefix else ""

    @cached_property
    def _client(self) -> Any:
        return s3_client(os.environ)

    def files(self, below: str = "") -> Iterator[StoredFile]:
        """Iterate over the Parquet files whose names begin with `below`."""
        with s3_errors(self.url):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}{below}"
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    name = str(entry["Key"]).removeprefix(self._prefix)
                    if name.endswith(".parquet"):
                        yield StoredFile(name, entry["Size"], entry["LastModified"].timestamp())

    def upload(self, path: Path, name: str) -> None:
        """Write a file, in place of one of that name; also raises `OSError`."""
        with s3_errors(self.url), path.open("rb") as file:
            self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}{name}", Body=file)

    def download(self, name: str, path: Path) -> None:
        """Read a file into `path`, which appears whole; also raises `OSError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with s3_errors(self.url):
            answer = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")
            with temporary.open("wb") as file:
                for chunk in answer["Body"].iter_chunks(1 << 18):
                    file.write(chunk)
        temporary.rename(path)

    def delete(self, name: str) -> None:
        """Remove a file, if it exists."""
        with s3_errors(self.url):
            self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")


def folder_of(parent: Path, url: str) -> Path:
    """Return the folder below `parent` that is for the log at `url` alone."""
    return parent / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


class Uploader:
    """The thread that sends finished files to a bucket, and keeps the log there within its limits."""

    def __init__(
        self, root: Path, bucket: Bucket, *, max_age_days: float, max_bytes: int, spool_bytes: int
    ) -> None:
        self._root = root
        self._bucket = bucket
        self._max_age_s = max_age_days * _DAY_S
        self._max_bytes = max_bytes
        self._spool_bytes = spool_bytes
        self._used_bytes = 0
        self._limits_due_at = 0.0
        self._failures = 0
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def refusal(self) -> str:
        """Return why no more records are taken here, or nothing."""
        return "bucket" if self._used_bytes > self._spool_bytes else ""

    def stop(self, timeout_s: float) -> None:
        """Send what is left, for at most `timeout_s`; the next start sends the rest."""
        self._ending = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            ending = self._ending
            try:
                self.turn()
                if self._failures:
                    log.info("the prediction log's `%s` answers again", self._bucket.url)
                self._failures = 0
            except (RegistryUnavailable, OSError) as error:
                self._failures += 1
                if self._failures == 1:
                    log.error("files of the prediction log wait in %s: %s", self._root, error)  # noqa: TRY400
            except Exception:  # The edge of a thread: the next turn tries again.
                self._failures += 1
                log.exception("sending files of the prediction log failed; the next turn tries again")
            if ending:
                return
            pause_s = (
                back_off_s(self._failures, first_s=1.0, most_s=_MOST_PAUSE_S) if self._failures else _TURN_S
            )
            self._wake.wait(pause_s)
            self._wake.clear()

    def turn(self) -> None:
        """Send every finished file, and keep the limits once an hour.

        Raises `RegistryUnavailable` and `OSError`; what was sent until then is.
        """
        files = list(self._finished())
        waiting = sum(size for _, size in files)
        # Segments count as well: they become files whether the bucket answers or not.
        self._used_bytes = waiting + sum(path.stat().st_size for path in segment_paths(self._root))
        for path, size in files:
            # Under the name that it has here: sent twice, it is still one file.
            self._bucket.upload(path, str(path.relative_to(self._root)))
            path.unlink(missing_ok=True)
            self._used_bytes -= size
            for folder in (path.parent, path.parent.parent):
                with contextlib.suppress(OSError):  # Not empty.
                    folder.rmdir()
        if time.time() >= self._limits_due_at:
            for name in beyond_limits(
                list(self._bucket.files()), time.time(), self._max_age_s, self._max_bytes
            ):
                self._bucket.delete(name)
            self._limits_due_at = time.time() + _LIMITS_S

    def _finished(self) -> Iterator[tuple[Path, int]]:
        for root in (self._root, self._root / LABELS):
            for _, folder in hour_folders(root):
                for path in sorted(folder.glob("[!.]*.parquet")):
                    with contextlib.suppress(FileNotFoundError):  # Another server here has sent it.
                        yield path, path.stat().st_size


def beyond_limits(files: list[StoredFile], now: float, max_age_s: float, max_bytes: int) -> Iterator[str]:
    """Iterate over the names of the files that are to go, oldest first; a limit of 0 is none."""
    dated = [(began, file) for file in files if (began := began_of(Path(file.name).parent)) is not None]
    total = sum(file.size_bytes for _, file in dated)
    for began, file in sorted(dated):
        too_old = max_age_s and began + HOUR_S < now - max_age_s
        if not too_old and not (max_bytes and total > max_bytes):
            return
        total -= file.size_bytes
        yield file.name
