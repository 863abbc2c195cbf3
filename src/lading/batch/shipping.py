"""How a run reaches other machines: the bundle as the bytes of its tar, files by a storage that all share.

A machine that scores need not reach the registry: it unpacks the bundle once, into its own cache, however
many workers it has. Moves no rows: inputs and outputs are where every machine sees them, which is checked.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lading.batch.inputs import InputFile
from lading.blobs.os_errors import destination_errors
from lading.bundle import Bundle, unpack_tar
from lading.errors import NotSupported
from lading.registry.cache import BundleCache
from lading.settings import cache_folder, home, store_settings

_SHARED = "it has to be on storage that every machine mounts at the same path"


def bundle_bytes(bundle: Path, digest: str) -> bytes:
    """Return the tar form of the bundle in a folder, the same bytes always.

    Raises `BundleError` if it is not the bundle of that digest.
    """
    out = io.BytesIO()
    Bundle.open(bundle, digest=digest).write_tar(out)
    return out.getvalue()


def unpacked(digest: str, fetch: Callable[[], BinaryIO], cache: Path | None = None) -> Bundle:
    """Return the bundle of a digest, unpacked on this machine: by the first worker that asks for it.

    `fetch` opens what `bundle_bytes` returned, and is called only where the bundle is not unpacked yet. It
    stays unpacked for as long as the returned object lives. `cache` is its folder, else ``LADING_CACHE``,
    else one at home. Raises `BundleError` for bytes of another bundle, `RegistryUnavailable` for a folder
    that cannot be written to.
    """
    # Beside the caches of registries, whose `gc` does not know what runs need.
    folder = cache or cache_folder() or home() / "caches" / "batch"

    def unpack(path: Path) -> Bundle:
        with fetch() as source:
            return unpack_tar(source, path, digest=digest)

    return BundleCache(folder, max_bytes=store_settings().cache_max_bytes).bundle(digest, unpack)


@contextmanager
def shared_mark(parts: Path) -> Iterator[Path]:
    """Leave a file beside the folder of the parts while a run lasts, by which other machines know it.

    A path alone does not tell: a machine may have a folder of that name for itself.
    """
    mark = parts.parent / f".shared-{secrets.token_hex(16)}"
    with destination_errors(f"output `{parts}`"):
        mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def check_shared(mark: Path) -> None:
    """Raise `NotSupported` if this machine does not see the folder that the run writes to."""
    if not mark.exists():
        where = f"output `{mark.parent.parent}` on `{machine()}`"
        raise NotSupported(where, expected="the folder of the run", found="another, or none", hint=_SHARED)


def check_input(file: InputFile) -> None:
    """Raise `NotSupported` if this machine does not see an input file as it was when the run was planned."""
    with contextlib.suppress(FileNotFoundError):
        # The size, not the time: file systems of a network may round times, and the driver checks them.
        if Path(file.path).stat().st_size == file.size_bytes:
            return
    where = f"input `{file.path}` on `{machine()}`"
    raise NotSupported(where, expected="the file of the run", found="another, or none", hint=_SHARED)


def machine() -> str:
    """Return the name of this machine, as it calls itself."""
    return socket.gethostname()
