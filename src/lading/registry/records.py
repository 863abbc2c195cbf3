"""What a registry says of versions and blobs. Reads and writes nothing."""

from __future__ import annotations

from typing import Literal

import msgspec

from lading import notebook
from lading.ref import Ref
from lading.release import Event


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle on its way into the catalog: a version without its number and its tags."""

    name: str
    digest: str  # of the bundle
    blob: str  # digest of its tar, by which a store knows it
    size_bytes: int  # of the tar
    purpose: str
    owner: str
    description: str
    pushed_at: str  # ISO 8601, UTC
    metrics: dict[str, float]


class ModelVersion(NewVersion, frozen=True, kw_only=True):
    """One version of a model."""

    version: int
    # Those of the moment at which it was read; all else never changes.
    tags: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        """The reference ``name:version``."""
        return Ref(self.name, version=self.version)

    def __repr__(self) -> str:
        tags = "".join(f", {tag}" for tag in self.tags)
        return f"ModelVersion({self.ref}, {self.digest[:19]}{tags})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("version", self)


AttachmentKind = Literal["attestation", "sbom", "scan"]


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A text about a bundle or an image, kept outside the digest that it is about."""

    digest: str  # that it is about, `sha256:…`
    kind: AttachmentKind
    id: str  # the sha256 of the body, 64 hexadecimal digits
    media_type: str
    actor: str  # who added it, as they said
    body: str = ""  # empty in lists
    added_at: float = 0.0  # Unix time of the catalog; 0 before it is stored


class EventPage(msgspec.Struct, frozen=True):
    """Events, newest first. ``older`` is the position below which older ones may be, 0 if none are."""

    events: list[Event]
    older: int


class StoredBlob(msgspec.Struct, frozen=True):
    """A blob in a store."""

    digest: str
    size_bytes: int
    modified_at: float  # Unix time, renewed when the blob is put again


class Removed(msgspec.Struct, frozen=True):
    """Something that `gc` removed."""

    kind: str  # "temporary file", "blob", "unpacked bundle", or of rows "old windows", "old replicas"
    name: str
    size_bytes: int  # 0 for rows
    because: str = ""


class GcReport(msgspec.Struct, frozen=True):
    """What `gc` removed, or would with ``dry_run``, and how many blobs it kept."""

    removed: tuple[Removed, ...]
    kept: int

    @property
    def freed_bytes(self) -> int:
        """The size of all that was removed."""
        return sum(removed.size_bytes for removed in self.removed)
