"""What a registry says of versions and blobs. Reads and writes nothing."""

from __future__ import annotations

import msgspec

from lading.ref import Ref


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle on its way into the catalog: a version but for its number and its tags."""

    name: str
    digest: str
    blob: str
    size_bytes: int
    purpose: str
    owner: str
    description: str
    pushed_at: str
    metrics: dict[str, float]


class ModelVersion(NewVersion, frozen=True, kw_only=True):
    """One version of a model. ``digest`` names the bundle, ``blob`` its tar; ``pushed_at`` is ISO 8601, UTC.

    ``tags`` are those of the moment when it was asked for; all else never changes.
    """

    version: int
    tags: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        """The reference ``name:version``."""
        return Ref(self.name, version=self.version)


class StoredBlob(msgspec.Struct, frozen=True):
    """A blob in a store; ``modified_at`` is a Unix time, moved on when the blob is put again."""

    digest: str
    size_bytes: int
    modified_at: float


class Removed(msgspec.Struct, frozen=True):
    """What `gc` removed: a ``temporary file``, ``blob`` or ``unpacked bundle``, or rows of one kind."""

    kind: str
    name: str
    size_bytes: int


class GcReport(msgspec.Struct, frozen=True):
    """What `gc` removed, or would with ``dry_run``, and how many blobs it kept."""

    removed: tuple[Removed, ...]
    kept: int

    @property
    def freed_bytes(self) -> int:
        """The size of all that was removed."""
        return sum(removed.size_bytes for removed in self.removed)
