"""The files that a batch run reads: which they are, of what form, and what bytes they hold. Reads no row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from lading.errors import UsageError

FORMS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
}
"""How a file is read, by how its name ends."""

_CHUNK_BYTES = 4 * 2**20


class InputFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of rows; ``name`` is its path below the input that was named, or that file's own name.

    ``changed_ns`` is when it was last written to, by the file system's clock.
    """

    name: str
    path: str
    form: str
    size_bytes: int
    sha256: str
    changed_ns: int = 0


class Inputs(msgspec.Struct, frozen=True):
    """The files of a run in the order in which they are scored, and the names of those that were left out."""

    files: tuple[InputFile, ...]
    left_out: tuple[str, ...]


def find_inputs(paths: Sequence[Path]) -> Inputs:
    """Find the files of `paths`, folders with all that is below them, and hash them.

    In a folder, files of another kind are left out, and so is what begins with a dot or an underscore, as
    marks of other programs do. Raises `UsageError` for a path that is neither, or without any file.
    """
    # By the file itself, so that two ways to it are one input.
    names: dict[Path, str] = {}
    left_out: list[str] = []
    for path in paths:
        if path.is_dir():
            for file in sorted(_below(path)):
                name = file.relative_to(path).as_posix()
                if form_of(file) is None or (file.exists() and not file.is_file()):
                    left_out.append(name)
                else:
                    names.setdefault(_real(file), name)
        elif form_of(path) is None and path.exists():
            raise UsageError(f"input `{path}`", expected=f"a file that ends in {_known()}", found="another")
        else:
            names.setdefault(_real(path), path.name)
    if not names:
        where = ", ".join(f"`{path}`" for path in paths)
        raise UsageError(where, expected=f"files that end in {_known()}", found="none")
    # A file that was named twice is scored once.
    # By name, so that the order does not depend on the place of the folders.
    files = sorted(names.items(), key=lambda entry: (entry[1], str(entry[0])))
    return Inputs(tuple(_hashed(path, name) for path, name in files), tuple(left_out))


def form_of(path: Path) -> str | None:
    """Return how a file is read, or None for another kind of file."""
    name = path.name.lower()
    return next((form for ending, form in FORMS.items() if name.endswith(ending)), None)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _below(folder: Path) -> Iterator[Path]:
    # Links to folders are followed: a data set is often made of them. Each folder is looked at once.
    known: set[Path] = set()
    for where, folders, files in os.walk(folder, onerror=_not_readable, followlinks=True):
        real = Path(where).resolve()
        if real in known:
            folders.clear()
            continue
        known.add(real)
        # In one order on all machines, as a folder with two names gets the first of them.
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        yield from (Path(where, name) for name in files if not name.startswith((".", "_")))


def _not_readable(error: OSError) -> None:
    raise UsageError(f"input `{error.filename}`", expected="a folder that can be read", found=reason(error))


def _real(path: Path) -> Path:
    """Return the file that a path is of. Raises `UsageError` if it is none that can be read."""
    where = f"input `{path}`"
    try:
        real = path.resolve(strict=True)
        f"{path}{real}".encode()
        if not real.is_file():
            raise UsageError(where, expected="a file or a folder", found="another thing")
        with real.open("rb"):
            return real
    except UnicodeEncodeError:
        raise UsageError(where, expected="a name in UTF-8", found="other bytes") from None
    # A loop of links is a `RuntimeError` before Python 3.13.
    except FileNotFoundError:
        actual = "a link to nothing" if path.is_symlink() else "nothing there"
        raise UsageError(where, expected="a file or a folder", found=actual) from None
    except (OSError, RuntimeError) as error:
        raise UsageError(where, expected="a file that can be read", found=reason(error)) from None


def reason(error: Exception) -> str:
    """Return what an operating system says of a file."""
    if isinstance(error, RuntimeError):
        return "a link to itself"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def _hashed(path: Path, name: str) -> InputFile:
    form, status = form_of(path), path.stat()
    assert form is not None
    return InputFile(name, str(path), form, status.st_size, sha256_of(path), status.st_mtime_ns)


def is_unchanged(file: InputFile) -> bool:
    """Return whether a file seems to be as it was hashed: nobody has written to it or replaced it since."""
    try:
        status = Path(file.path).stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size_bytes, file.changed_ns)


def _known() -> str:
    return ", ".join(f"`{ending}`" for ending in FORMS)
