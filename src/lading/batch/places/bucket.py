"""A run's output below a prefix of a bucket, by conditional writes. Keeps no file on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from lading.batch.objects import SCHEME, Entry, Objects, folder_url, split
from lading.batch.places import MANIFEST, PARTS, RECORDS, STATE, check_ours
from lading.batch.places.lease import Lease

if TYPE_CHECKING:
    from lading.batch.part_file import Written

_CHUNK_BYTES = 1 << 20


class BucketPlace:
    """A `Place` in a bucket; parts are copied when they are published, as objects cannot be moved."""

    def __init__(self, url: str, objects: Objects | None = None) -> None:
        self._url = folder_url(url)
        self._bucket, key = split(self._url)
        self._prefix = f"{key}/" if key else ""
        self._objects = objects or Objects()
        self._lease: Lease | None = None

    @property
    def where(self) -> str:
        """The URL."""
        return self._url

    @property
    def parts(self) -> str:
        """The URL below which parts are written before they are published."""
        return f"{self._url}/{PARTS}"

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep other runs out. Raises `OutputInUse` for one at work, else `DestinationExists`."""
        self._check_ours()
        lease = Lease(self._objects, f"{self._url}/{STATE}/lock", self._url)
        lease.acquire()
        self._lease = lease
        # What another run has done meanwhile is seen only now.
        self.__dict__.pop("_waiting", None)
        try:
            yield
        finally:
            self._lease = None
            lease.release()
            self._objects.close()

    def _check_ours(self) -> None:
        first = self._objects.listed(self._url, self._prefix, most=1)
        names = [entry.key.removeprefix(self._prefix).partition("/")[0] for entry in first]
        if names and self.read(MANIFEST) is None:
            state = self._objects.listed(self._url, f"{self._prefix}{STATE}/", most=1)
            check_ours(self._url, [*names, *(STATE for _ in state)])

    def confirm(self) -> None:
        """Raise `OutputInUse` if other runs are not kept out any more."""
        if self._lease is not None:
            self._lease.check()

    def named(self, name: str) -> str:
        """Return the URL of a file."""
        return f"{self._url}/{name}"

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None if there is none."""
        document = self._objects.read(self.named(name))
        return None if document is None else document.data

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        self._objects.put(self.named(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file as the first to do so; return False, and write nothing, if it exists."""
        return self._objects.put(self.named(name), data, only_new=True) is not None

    def records(self) -> list[str]:
        """Return the names of the records of parts, sorted."""
        return [name for name in self._names(f"{RECORDS}/") if name.endswith(".json")]

    @cached_property
    def _waiting(self) -> dict[str, Entry]:
        """The parts that are not published, or not settled, by their names."""
        prefix = f"{self._prefix}{PARTS}/"
        return {entry.key.removeprefix(prefix): entry for entry in self._objects.listed(self._url, prefix)}

    def compare(self, written: Written) -> bool | None:
        """Return whether a file, published or not, has the bytes that were written; None if there is none."""
        # By what S3 calls its bytes, which it checked when they came: nothing is read again.
        waiting = self._waiting.get(written.name)
        if waiting is not None:
            return (waiting.size_bytes, waiting.etag) == (written.size_bytes, written.etag)
        # A copy may have another ETag; it has the digest that was stated of the part.
        stated = self._objects.stated(self.named(written.name))
        return None if stated is None else stated == (written.size_bytes, f"sha256:{written.sha256}")

    def publish(self, files: Sequence[Written]) -> None:
        """Bring parts to where readers look for them; those that readers see already stay."""
        # Killed here, the next run copies all of them once more: what was copied stays until the end.
        self.__dict__.pop("_waiting", None)
        for written in files:
            self.confirm()
            if written.name in self._waiting:
                source = f"{self.parts}/{written.name}"
                self._objects.copy(source, self.named(written.name), written.size_bytes)

    def settle(self) -> None:
        """Remove what was copied, now that the manifest exists."""
        for name in self._names(f"{PARTS}/"):
            self._objects.delete(self.named(name))

    def files(self) -> Iterator[str]:
        """Iterate over the names of all files, but for those below `STATE`, sorted."""
        return (name for name in self._names("") if not name.startswith(f"{STATE}/"))

    def measure(self, name: str) -> tuple[int, str] | None:
        """Read a published file and return its size and its SHA-256, or None if there is none."""
        key = f"{self._prefix}{name}"
        listed = next(iter(self._objects.listed(self._url, key, most=1)), None)
        if listed is None or listed.key != key:
            return None
        # Not by metadata, which anybody who writes there can write as well.
        sha256, size_bytes = hashlib.sha256(), 0
        with self._objects.open(f"{SCHEME}{self._bucket}/{key}", listed.etag).file as file:
            while chunk := file.read(_CHUNK_BYTES):
                sha256.update(chunk)
                size_bytes += len(chunk)
        return size_bytes, sha256.hexdigest()

    def _names(self, below: str) -> Iterator[str]:
        for entry in self._objects.listed(self._url, f"{self._prefix}{below}"):
            yield entry.key.removeprefix(self._prefix)
