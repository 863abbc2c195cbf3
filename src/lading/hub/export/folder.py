"""The folder of an export: written beside its place and put there as a whole, with the hash of every file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from lading.errors import UsageError

SUMS = "SHA256SUMS"
"""The hashes of all other files, as ``sha256sum --check`` reads them."""

ABOUT = "export.json"
"""What was exported, when, from which registry and by which lading."""

_HINT = "name a folder that is empty or not there; an earlier export is replaced"


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yield a folder to write to, which becomes `folder` at the end, and is removed if that is not reached.

    Raises `UsageError` for a folder with files that no export has written, or that cannot be written.
    """
    # Through a link, so that what it leads to is replaced and not the link.
    folder = folder.expanduser().resolve()
    check_replaceable(folder)
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
        yield part
        _write_sums(part)
        _put(part, folder)
    except OSError as error:
        where = f"`{folder}`"
        raise UsageError(
            where, expected="a folder that can be written", found=error.strerror or str(error)
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Raise `UsageError` if anything is in a folder that no export has written."""
    where = f"`{folder}`"
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(where, expected="a folder", found="a file", hint=_HINT)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if not present:
        return
    listed: set[str] = set()
    # Without either it is no export, or one that is damaged: then its files are somebody's all the same.
    if {SUMS, ABOUT} <= present:
        lines = (folder / SUMS).read_text("utf-8", errors="replace").splitlines()
        listed = {line.partition("  ")[2] for line in lines} | {SUMS}
    strange = sorted(present - listed)
    if strange:
        found = f"`{strange[0][:200]}`, which no export has written"
        raise UsageError(where, expected="an empty folder, or an earlier export", found=found, hint=_HINT)


def _write_sums(part: Path) -> None:
    lines = []
    for path in sorted(part.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{digest}  {path.relative_to(part).as_posix()}\n")
    (part / SUMS).write_text("".join(lines), "utf-8")


def _put(part: Path, folder: Path) -> None:
    # A loss of power after the renames must not leave files without their content.
    os.sync()
    before = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.before")
    if folder.exists():
        folder.rename(before)
    try:
        part.rename(folder)
    except OSError:
        if before.exists():
            before.rename(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)
