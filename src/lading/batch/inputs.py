"""The files that a batch run reads: which they are, of what form, and what bytes they hold. Reads no row.

A file is one on this machine, or an object at ``s3://…``, by the same rules.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from lading.batch.objects import SCHEME, Entry, Objects, changed, folder_url, is_url, split
from lading.errors import UsageError
from lading.runtime.host.cpus import cpu_limit

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
_FEW = 10


class InputFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file of rows; ``name`` is its path below the input that was named, or that file's own name.

    ``changed_ns`` is when it was last written to, by the file system's clock. An object has an ``etag``
    instead, a ``version`` if its bucket keeps them, and no ``sha256`` before it was read.
    """

    name: str
    path: str
    form: str
    size_bytes: int
    sha256: str
    changed_ns: int = 0
    etag: str = ""
    version: str = ""


class Inputs(msgspec.Struct, frozen=True):
    """The files of a run in the order in which they are scored, and the names of those that were left out."""

    files: tuple[InputFile, ...]
    left_out: tuple[str, ...]


def find_inputs(
    paths: Sequence[Path | str],
    objects: Callable[[], Objects] = Objects,
    expect: Callable[[int], None] = lambda _: None,
) -> Inputs:
    """Find the files of `paths`, folders with all that is below them, and hash those on this machine.

    In a folder, files of another kind are left out, and so is what begins with a dot or an underscore, as
    marks of other programs do. Objects are listed, and not read. `expect` is called with the bytes of the
    files before they are hashed. Raises `UsageError` for a path that is neither file nor folder, or without
    any file.
    """
    # By the file itself, so that two ways to it are one input.
    names: dict[Path, str] = {}
    listed: dict[str, InputFile] = {}
    left_out: list[str] = []
    for each in paths:
        if is_url(each):
            for file in find_objects(str(each), objects(), left_out):
                listed.setdefault(file.path, file)
        else:
            _find_files(Path(each), names, left_out)
    if not names and not listed:
        where = ", ".join(f"`{path}`" for path in paths)
        raise UsageError(where, expected=f"files that end in {_known()}", found="none")
    expect(sum(path.stat().st_size for path in names))
    # A file that was named twice is scored once.
    with ThreadPoolExecutor(cpu_limit()) as pool:
        files = list(pool.map(_hashed, names.keys(), names.values()))
    # By name, so that the order does not depend on the place of the folders.
    ordered = sorted([*files, *listed.values()], key=lambda file: (file.name, file.path))
    return Inputs(tuple(ordered), tuple(left_out))


def _find_files(path: Path, names: dict[Path, str], left_out: list[str]) -> None:
    if path.is_dir():
        for file in sorted(_below(path)):
            name = file.relative_to(path).as_posix()
            if form_of(file.name) is None or (file.exists() and not file.is_file()):
                left_out.append(name)
            else:
                names.setdefault(_real(file), name)
    elif form_of(path.name) is None and path.exists():
        raise UsageError(f"input `{path}`", expected=f"a file that ends in {_known()}", found="another")
    else:
        names.setdefault(_real(path), path.name)


def find_objects(url: str, objects: Objects, left_out: list[str]) -> Iterator[InputFile]:
    """Iterate over the object at `url`, or those below it as in a folder; name what is of another kind.

    Raises `UsageError` if there is neither.
    """
    bucket, key = split(folder_url(url))
    if key and (form := form_of(key)) is not None:
        # Of the keys that begin with it, its own is the first.
        first = next(iter(objects.listed(url, key, most=1)), None)
        if first is not None and first.key == key:
            yield _object(bucket, first, key.rpartition("/")[2], form)
            return
    prefix = f"{key}/" if key else ""
    is_empty = True
    for entry in objects.listed(url, prefix):
        is_empty = False
        name = entry.key.removeprefix(prefix)
        # Consoles make an object of a folder's name, which is no file.
        if name.endswith("/") or not name or _is_hidden(name.split("/")):
            continue
        if (form := form_of(name)) is None:
            left_out.append(name)
        else:
            yield _object(bucket, entry, name, form)
    if not is_empty:
        return
    exact = next(iter(objects.listed(url, key, most=1)), None)
    if exact is not None and exact.key == key:
        raise UsageError(f"input `{url}`", expected=f"an object that ends in {_known()}", found="another")
    raise UsageError(f"input `{url}`", expected="an object, or objects below it", found="nothing there")


def _object(bucket: str, entry: Entry, name: str, form: str) -> InputFile:
    return InputFile(name, f"{SCHEME}{bucket}/{entry.key}", form, entry.size_bytes, "", etag=entry.etag)


def form_of(name: str) -> str | None:
    """Return how a file of this name is read, or None for another kind of file."""
    lower = name.lower()
    return next((form for ending, form in FORMS.items() if lower.endswith(ending)), None)


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
        folders[:] = sorted(name for name in folders if not _is_hidden([name]))
        yield from (Path(where, name) for name in files if not _is_hidden([name]))


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


def _is_hidden(names: Sequence[str]) -> bool:
    return any(name.startswith((".", "_")) for name in names)


def _hashed(path: Path, name: str) -> InputFile:
    form, status = form_of(path.name), path.stat()
    assert form is not None
    return InputFile(name, str(path), form, status.st_size, sha256_of(path), status.st_mtime_ns)


def check_unchanged(files: Sequence[InputFile], objects: Callable[[], Objects] = Objects) -> None:
    """Raise `BatchChanged` if a file is not the one that the plan was made of."""
    for file in files:
        if not is_url(file.path) and not _is_unchanged(file):
            raise changed(f"`{file.name}`")
    folders: dict[str, list[InputFile]] = {}
    for file in files:
        if is_url(file.path):
            folders.setdefault(file.path.rpartition("/")[0] + "/", []).append(file)
    for folder, members in folders.items():
        now = _etags(folder, members, objects())
        for file in members:
            if now.get(file.path) != file.etag:
                raise changed(f"`{file.path}`", gone=file.path not in now)


def _etags(folder: str, files: Sequence[InputFile], objects: Objects) -> dict[str, str]:
    """Return the ETags that objects of a folder have now, at least those of `files`, by their URLs."""
    bucket, prefix = split(folder)
    if len(files) > _FEW:  # A list shows a thousand objects in the time in which one is asked for.
        listed = objects.listed(folder, prefix, flat=True)
    else:
        keys = [split(file.path)[1] for file in files]
        listed = (entry for key in keys for entry in objects.listed(folder, key, most=1))
    return {f"{SCHEME}{bucket}/{entry.key}": entry.etag for entry in listed}


def _is_unchanged(file: InputFile) -> bool:
    """Return whether a file seems to be as it was hashed: nobody has written to it or replaced it since."""
    try:
        status = Path(file.path).stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size_bytes, file.changed_ns)


def _known() -> str:
    return ", ".join(f"`{ending}`" for ending in FORMS)
