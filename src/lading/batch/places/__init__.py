"""The contract of places that a run writes to: a folder, or a prefix of a bucket.

Holds the contract alone, and what names mean in every place. What is written there, and in which order, is
the ledger's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lading.errors import DestinationExists

if TYPE_CHECKING:
    from lading.batch.part_file import Written

MANIFEST = "manifest.json"
STATE = ".lading"
PARTS = f"{STATE}/parts"
RECORDS = f"{STATE}/done"


class Place(Protocol):
    """The files of a run by their names below the place; a file that exists is whole."""

    @property
    def where(self) -> str:
        """The place as people name it: a folder or URL."""

    @property
    def parts(self) -> Path | str:
        """Where parts are written to before they are published: what a `Scorer` takes."""

    def holding(self) -> AbstractContextManager[None]:
        """Keep other runs out. Raises `OutputInUse` for one at work, else `DestinationExists`."""

    def confirm(self) -> None:
        """Raise `OutputInUse` if other runs are not kept out any more."""

    def named(self, name: str) -> str:
        """Return how people name a file of this place."""

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None if there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file as the first to do so; return False, and write nothing, if it exists."""

    def records(self) -> list[str]:
        """Return the names of the records of parts, sorted."""

    def compare(self, written: Written) -> bool | None:
        """Return whether a file, published or not, has the bytes that were written; None if there is none."""

    def publish(self, files: Sequence[Written]) -> None:
        """Bring parts to where readers look for them; those that readers see already stay."""

    def settle(self) -> None:
        """Remove what is of no use once the manifest exists."""

    def files(self) -> Iterator[str]:
        """Iterate over the names of all files, but for those below `STATE`, sorted."""

    def measure(self, name: str) -> tuple[int, str] | None:
        """Read a published file and return its size and its SHA-256, or None if there is none."""


def check_ours(where: str, names: Sequence[str]) -> None:
    """Raise `DestinationExists` if a place holds files, and no run's."""
    if names and STATE not in names and MANIFEST not in names:
        expected, actual = "an empty folder, or that of a run", f"`{min(names)}`"
        raise DestinationExists(f"output `{where}`", expected=expected, found=actual)
