"""Files on a disk: which there are, and one changed byte of them."""

from __future__ import annotations

from pathlib import Path


def files_below(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, relative to it and sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def flip_bit(path: Path, at: int) -> None:
    """Change one bit of the byte at an offset of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
