"""The contract of a catalog's rows about versions, their tags, and evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.ref import Ref
    from lading.registry.records import ModelVersion, NewVersion


class VersionCatalog(Protocol):
    """Versions, tags and evidence."""

    def add(self, new: NewVersion, tags: Sequence[str], ensure_stored: Callable[[], object]) -> ModelVersion:
        """Add a version under the next number and tag it; a digest that exists keeps its version.

        `ensure_stored` is called inside the transaction, where no `discard` can run; if it raises, nothing
        is added.
        """

    def find(self, ref: Ref) -> ModelVersion | None:
        """Return the version that a reference names, or None; a bare name means the highest."""

    def models(self) -> list[str]:
        """Return the names that have a version, sorted."""

    def of(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model, lowest first."""

    def newest(self) -> list[ModelVersion]:
        """Return the highest version of every model, by name, without its tags."""

    def page(self, name: str, below: int | None, limit: int) -> list[ModelVersion]:
        """Return at most `limit` versions of a model, highest first, of those with a number below `below`."""

    def tag(self, name: str, version: int, tag: str) -> ModelVersion | None:
        """Move a tag to a version and return it, or None if the version does not exist."""

    def untag(self, name: str, tag: str) -> bool:
        """Remove a tag; return whether it existed."""

    def remove(self, name: str, version: int, *, keep_releases: int) -> tuple[str, ...] | None:
        """Remove a version unless a tag, one of the last releases or a running replica names it.

        Return what names it, or None if it does not exist.
        """

    def record(self, evidence: Evidence) -> None:
        """Add evidence about a bundle."""

    def evidence(self, digest: str | None, *, history: bool) -> list[Evidence]:
        """Return evidence in the order of recording: the last per bundle and fingerprint, or all of it."""

    def kept(self) -> tuple[set[str], set[str]]:
        """Return the digests of all blobs that versions name, and of all bundles that they or replicas do."""

    def discard(self, blob: str, delete: Callable[[str], bool]) -> bool:
        """Call `delete` on a blob inside a transaction in which no version names it.

        Return whether it was deleted.
        """
