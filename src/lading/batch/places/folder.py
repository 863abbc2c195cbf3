"""A run's output in a folder of this machine. Its lock is the kernel's, and ends with the process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lading.batch.inputs import sha256_of
from lading.batch.places import PARTS, RECORDS, STATE, check_ours
from lading.blobs.locks import file_lock_if_free
from lading.errors import DestinationExists, OutputInUse

if TYPE_CHECKING:
    from lading.batch.part_file import Written


class FolderPlace:
    """A `Place` in a folder; parts are moved when they are published."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = folder / STATE
        self.parts = folder / PARTS

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep other runs out. Raises `OutputInUse` for one at work, else `DestinationExists`."""
        if self._folder.is_dir():
            check_ours(self.where, [path.name for path in self._folder.iterdir()])
        elif self._folder.exists():
            raise DestinationExists(f"output `{self.where}`", expected="a folder", found="a file")
        (self._folder / RECORDS).mkdir(parents=True, exist_ok=True)
        self.parts.mkdir(parents=True, exist_ok=True)
        with file_lock_if_free(self._state / "lock") as lock:
            if lock is None:
                where = f"output `{self.where}`"
                hint = "wait for it, or write to another folder"
                raise OutputInUse(where, expected="no other run", found="one that is at work", hint=hint)
            self._remove_scratch()
            yield

    def _remove_scratch(self) -> None:
        """Remove what a run that was killed had not finished."""
        for folder in (self._state, self._folder / RECORDS, self.parts, self.parts / "rejected"):
            for path in folder.glob(".*"):
                path.unlink(missing_ok=True)

    def confirm(self) -> None:
        """Do nothing: the lock is held for as long as this process lives."""

    def named(self, name: str) -> str:
        """Return the path of a file."""
        return str(self._folder / name)

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None if there is none."""
        try:
            return (self._folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        # Made where nobody looks: of a run that is killed here nothing is left beside its parts.
        write_whole(self._folder / name, data, self._state)

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file as the first to do so; return False, and write nothing, if it exists."""
        if (self._folder / name).exists():
            return False
        self.write(name, data)
        return True

    def records(self) -> list[str]:
        """Return the names of the records of parts, sorted."""
        return [f"{RECORDS}/{path.name}" for path in sorted((self._folder / RECORDS).glob("*.json"))]

    def compare(self, written: Written) -> bool | None:
        """Return whether a file, published or not, has the bytes that were written; None if there is none."""
        # Every byte is read again: what goes on after a crash has to know what the crash has left.
        places = (self._folder / written.name, self.parts / written.name)
        path = next((path for path in places if path.is_file()), None)
        if path is None:
            return None
        return path.stat().st_size == written.size_bytes and sha256_of(path) == written.sha256

    def publish(self, files: Sequence[Written]) -> None:
        """Bring parts to where readers look for them; those that readers see already stay."""
        # Killed here, the next run finds parts in either place, and moves the rest.
        for written in files:
            if not (self._folder / written.name).is_file():
                (self._folder / written.name).parent.mkdir(exist_ok=True)
                (self.parts / written.name).rename(self._folder / written.name)
        for folder in (self._folder, self._folder / "rejected"):
            if folder.is_dir():
                sync_folder(folder)

    def settle(self) -> None:
        """Do nothing: parts were moved."""

    def files(self) -> Iterator[str]:
        """Iterate over the names of all files, but for those below `STATE`, sorted."""
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if path.is_file() and not name.startswith(f"{STATE}/"):
                yield name

    def measure(self, name: str) -> tuple[int, str] | None:
        """Read a published file and return its size and its SHA-256, or None if there is none."""
        path = self._folder / name
        return (path.stat().st_size, sha256_of(path)) if path.is_file() else None


def write_whole(path: Path, data: bytes, scratch_folder: Path) -> None:
    """Write a file, made in `scratch_folder`, so that after a crash it exists as a whole or not at all."""
    scratch = scratch_folder / f".{path.name}.{os.getpid()}"
    with scratch.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    # A file that is on the disk may still have no name there.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
