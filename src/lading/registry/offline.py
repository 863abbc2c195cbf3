"""What a catalog answered last, stored beside the cache for servers that start while it is unreachable.

What never changes, the version that a number or a digest names, is known for good; the releases that were
wanted only for a while, because one may have been undone since. Files are replaced atomically. If one cannot
be written or read, nothing is known, which is logged once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from lading.ref import Ref
from lading.registry.records import ModelVersion
from lading.release import Release

log = logging.getLogger("lading.registry")

# How long the wanted releases count. A restart takes minutes; after a longer outage a server waits.
FRESH_S = 3600.0
# How often the wanted releases are written again although nothing has changed.
_CONFIRM_S = 60.0

_T = TypeVar("_T")


class WantedReleases(msgspec.Struct, frozen=True):
    """The releases that were wanted, and the versions that a server held for them."""

    releases: tuple[Release, ...]
    versions: tuple[ModelVersion, ...]


class LastKnown:
    """What the catalog called `where` answered last, below the folder `root`; `clock` returns Unix times."""

    def __init__(self, root: Path, where: str, clock: Callable[[], float]) -> None:
        # Registries may share a cache: each has a folder of its own.
        self._folder = root / hashlib.sha256(where.encode()).hexdigest()[:12]
        self._wanted_file = self._folder / "followed.json"
        self._clock = clock
        self._wanted = WantedReleases((), ())
        self._written_at = 0.0
        self._last_error = ""

    def keep(self, version: ModelVersion) -> None:
        """Store what a number and a digest name, but not its tags, which may move at any time."""
        lasting = msgspec.structs.replace(version, tags=())
        for ref in (version.ref, Ref(version.name, digest=version.digest)):
            path = self._path(ref)
            # They differ if the database was created again, or restored from a backup: then a number may
            # name another bundle.
            if path is not None and self._read(path, ModelVersion) != lasting:
                self._write(path, lasting)

    def version(self, ref: Ref) -> ModelVersion | None:
        """Return what `ref` names by number or digest; None if that was never stored, or for a tag."""
        path = self._path(ref)
        version = self._read(path, ModelVersion) if path is not None else None
        if version is None or version.name != ref.name:
            return None
        is_named = ref.digest in (None, version.digest) and ref.version in (None, version.version)
        return version if is_named else None

    def keep_attestations(self, digest: str, texts: list[str]) -> None:
        """Store what was attested about a bundle, if it is not what is stored already."""
        path = self._attested_file(digest)
        # Read first: a server asks with every load, and nearly always nothing is new.
        if self._read(path, list[str]) != texts:
            self._write(path, texts)

    def attestations(self, digest: str) -> list[str] | None:
        """Return what was attested about a bundle when the catalog last said so; None if it never did."""
        return self._read(self._attested_file(digest), list[str])

    def keep_wanted(self, releases: Sequence[Release], versions: Sequence[ModelVersion]) -> None:
        """Store the releases that are wanted now, and their versions for good."""
        for version in versions:
            self.keep(version)
        self._wanted = WantedReleases(tuple(releases), tuple(versions))
        self._written_at = self._clock()
        self._write(self._wanted_file, self._wanted)

    def confirm(self) -> None:
        """Renew from time to time what was stored last: the catalog has just said that it is still wanted."""
        if self._clock() - self._written_at >= _CONFIRM_S:
            self._written_at = self._clock()
            self._write(self._wanted_file, self._wanted)

    def wanted(self) -> WantedReleases | None:
        """Return what was wanted, or None if that is longer ago than `FRESH_S`."""
        try:
            age_s = self._clock() - self._wanted_file.stat().st_mtime
        except OSError:
            return None
        # A file from the future was written by another clock, or by this one before it was corrected.
        return self._read(self._wanted_file, WantedReleases) if -_CONFIRM_S <= age_s <= FRESH_S else None

    def _path(self, ref: Ref) -> Path | None:
        if ref.digest is not None:
            return self._folder / f"{ref.name}@{ref.digest.removeprefix('sha256:')}.json"
        return self._folder / f"{ref.name}@{ref.version}.json" if ref.version is not None else None

    def _attested_file(self, digest: str) -> Path:
        return self._folder / f"attested@{digest.removeprefix('sha256:')}.json"

    def _write(self, path: Path, value: ModelVersion | WantedReleases | list[str]) -> None:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(msgspec.json.encode(value))
            temporary.replace(path)
        except OSError as error:
            self._warn(error)
            # The old file goes as well: it would be believed.
            for file in (temporary, path):
                with contextlib.suppress(OSError):
                    file.unlink()

    def _read(self, path: Path, kind: type[_T]) -> _T | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._warn(error)
            return None

    def _warn(self, error: Exception) -> None:
        # Once per error, and not with every version that a server reads.
        if str(error) != self._last_error:
            self._last_error = str(error)
            log.warning("what the catalog answered last is not stored in `%s`: %s", self._folder, error)
