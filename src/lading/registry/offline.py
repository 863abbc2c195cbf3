"""What a catalog said last, kept beside the cache for servers that start while it is away.

What never changes, which version a number or a digest names, is known for good; what was wanted only for a
while, because a release may have been undone since. Files are replaced whole. Where one cannot be written or
read nothing is known, which the log says once.
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

FRESH_S = 3600.0
"""How long what was wanted counts. A restart takes minutes; who was away for longer waits for the catalog."""
_HEARD_S = 60.0
"""How often what is wanted is written anew though nothing has changed."""

_T = TypeVar("_T")


class Followed(msgspec.Struct, frozen=True):
    """The releases that were wanted, and the versions that a server held for them."""

    releases: tuple[Release, ...]
    versions: tuple[ModelVersion, ...]


class LastKnown:
    """The last words of the catalog called `where`, below the folder `root`; `clock` gives Unix times."""

    def __init__(self, root: Path, where: str, clock: Callable[[], float]) -> None:
        self._folder = root / hashlib.sha256(where.encode()).hexdigest()[:12]
        self._followed = self._folder / "followed.json"
        self._clock = clock
        self._last = Followed((), ())
        self._heard_at = 0.0
        self._trouble = ""

    def keep(self, version: ModelVersion) -> None:
        """Keep what a number and a digest name. Of its tags nothing is kept: anybody moves them.

        A database that was made anew, or put back from a backup, gives a number to another bundle.
        """
        lasting = msgspec.structs.replace(version, tags=())
        for ref in (version.ref, Ref(version.name, digest=version.digest)):
            path = self._path(ref)
            if path is not None and self._read(path, ModelVersion) != lasting:
                self._write(path, lasting)

    def version(self, ref: Ref) -> ModelVersion | None:
        """Return what `ref` names by number or digest; None if that was never kept, and for any other."""
        path = self._path(ref)
        found = self._read(path, ModelVersion) if path is not None else None
        if found is None or found.name != ref.name:
            return None
        return found if ref.digest in (None, found.digest) and ref.version in (None, found.version) else None

    def keep_followed(self, releases: Sequence[Release], versions: Sequence[ModelVersion]) -> None:
        """Keep what is wanted now, and the versions for good."""
        for version in versions:
            self.keep(version)
        self._last = Followed(tuple(releases), tuple(versions))
        self._heard_at = self._clock()
        self._write(self._followed, self._last)

    def heard(self) -> None:
        """Note now and then that what is wanted is still what was last kept here."""
        if self._clock() - self._heard_at >= _HEARD_S:
            self._heard_at = self._clock()
            self._write(self._followed, self._last)

    def followed(self) -> Followed | None:
        """Return what was wanted, if that was not longer ago than `FRESH_S`."""
        try:
            age_s = self._clock() - self._followed.stat().st_mtime
        except OSError:
            return None
        # What is from the future was written by another clock, or by this one before it was put right.
        return self._read(self._followed, Followed) if -_HEARD_S <= age_s <= FRESH_S else None

    def _path(self, ref: Ref) -> Path | None:
        if ref.digest is not None:
            return self._folder / f"{ref.name}@{ref.digest.removeprefix('sha256:')}.json"
        return self._folder / f"{ref.name}@{ref.version}.json" if ref.version is not None else None

    def _write(self, path: Path, value: ModelVersion | Followed) -> None:
        """Replace the file; where that fails there is none, for the old one would be believed."""
        aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(msgspec.json.encode(value))
            aside.replace(path)
        except OSError as error:
            self._complain(error)
            for one in (aside, path):
                with contextlib.suppress(OSError):
                    one.unlink()

    def _read(self, path: Path, kind: type[_T]) -> _T | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._complain(error)
            return None

    def _complain(self, error: Exception) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.warning("what the catalog said last is not kept in `%s`: %s", self._folder, error)
