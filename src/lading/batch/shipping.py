"""How a run reaches other machines: the bundle as the bytes of its tar, files by a storage that all share.

A machine that scores need not reach the registry: it unpacks the bundle once, into its own cache, however
many workers it has. Moves no rows: inputs and outputs are where every machine sees them, which is checked.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO

from lading.batch.inputs import InputFile
from lading.batch.objects import Objects, is_url, split
from lading.batch.plan import Plan, Task
from lading.batch.scoring import Done
from lading.batch.work import Work
from lading.blobs.os_errors import destination_errors
from lading.bundle import Bundle, unpack_tar
from lading.errors import DISTRIBUTION, ExtraMissing, LadingError, NotSupported, RegistryUnavailable
from lading.registry.cache import BundleCache
from lading.settings import cache_folder, home, store_settings

_SHARED = "it has to be on storage that every machine mounts at the same path"

_LIBRARIES = (DISTRIBUTION, "numpy", "onnxruntime", "pyarrow")


@dataclass(frozen=True)
class Shipment:
    """A run as other machines get it: all but the bundle, which only those fetch that have not unpacked it.

    `mark` is that of `shared_mark`, `libraries` are those of the machine that leads the run.
    """

    work: Work
    mark: Path | None
    libraries: Mapping[str, str]


class Station:
    """A process of another machine, where a bundle has proved itself, ready for tasks."""

    def __init__(self, shipment: Shipment, fetch: Callable[[], BinaryIO]) -> None:
        """Check what this machine has and sees, unpack the bundle, and replay its golden samples.

        Raises `NotSupported`, `RegistryUnavailable` for a bucket that is out of reach from here, and what
        `unpacked` and `Work.scorer` raise.
        """
        self._work = shipment.work
        check_libraries(shipment.libraries)
        check_shared(shipment.mark)
        check_buckets(self._work.plan, self._work.parts)
        # Kept: what is in use is not removed to make room.
        self._bundle = unpacked(self._work.digest, fetch)
        self._scorer = replace(self._work, bundle=self._bundle.path).scorer()

    def answer(self, task: Task) -> tuple[str, Done | LadingError]:
        """Score a task into the folder of the run; return a kind and its value.

        "done"; "refused", if this machine does not see what the task reads, or reaches its bucket no more;
        "failed", if any other machine would fail as well. Raises what is no error of lading, such as that of
        a disk.
        """
        try:
            check_input(self._work.plan.files[task.file])
        except NotSupported as error:
            return "refused", error
        try:
            with on_this_machine():
                return "done", self._scorer.score(task, self._work.parts)
        except RegistryUnavailable as error:
            return "refused", error
        except LadingError as error:
            return "failed", error

    def close(self) -> None:
        """Release the model."""
        self._scorer.close()


def libraries() -> dict[str, str]:
    """Return the versions of what decides the bytes of parts on this machine; empty for what it lacks."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    return versions


def check_libraries(expected: Mapping[str, str]) -> None:
    """Raise `NotSupported` for a library whose version is not the `expected` one.

    Answers would hold, but the same rows might become other bytes: which machine a part falls to must not
    decide what is in it.
    """
    here = libraries()
    for name, wanted in expected.items():
        if here.get(name) != wanted:
            actual = f"version {here[name]}" if here.get(name) else "none"
            where, hint = f"`{name}` on `{machine()}`", "install the same versions on all machines"
            expected_text = f"version {wanted}, as where the run was started"
            raise NotSupported(where, expected=expected_text, found=actual, hint=hint)


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
def shared_mark(parts: Path | str) -> Iterator[Path | None]:
    """Leave a file beside the folder of the parts while a run lasts, by which other machines know it.

    A path alone does not tell: a machine may have a folder of that name for itself. What is in a bucket is
    the same from everywhere, and needs none.
    """
    if is_url(parts):
        yield None
        return
    parts = Path(parts)
    mark = parts.parent / f".shared-{secrets.token_hex(16)}"
    with destination_errors(f"output `{parts}`"):
        mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def check_shared(mark: Path | None) -> None:
    """Raise `NotSupported` if this machine does not see the folder that the run writes to."""
    if mark is not None and not mark.exists():
        where = f"output `{mark.parent.parent}` on `{machine()}`"
        raise NotSupported(where, expected="the folder of the run", found="another, or none", hint=_SHARED)


def check_input(file: InputFile) -> None:
    """Raise `NotSupported` if this machine does not see an input file as it was when the run was planned."""
    if is_url(file.path):
        return  # It is read by its ETag, and refused if it is another by then.
    with contextlib.suppress(FileNotFoundError):
        # The size, not the time: file systems of a network may round times, and the driver checks them.
        if Path(file.path).stat().st_size == file.size_bytes:
            return
    where = f"input `{file.path}` on `{machine()}`"
    raise NotSupported(where, expected="the file of the run", found="another, or none", hint=_SHARED)


def check_buckets(plan: Plan, parts: Path | str) -> None:
    """Raise `RegistryUnavailable` if this machine does not reach the buckets of a run, or may not.

    It has the credentials of its own, or none: nobody sends it any.
    """
    # One object of each bucket: a list of it is the least that a run needs a right for.
    urls = {split(url)[0]: url for file in reversed(plan.files) if is_url(url := file.path)}
    if is_url(parts):
        urls[split(str(parts))[0]] = str(parts)
    if not urls:
        return
    with on_this_machine(), contextlib.closing(Objects()) as objects:
        for url in urls.values():
            next(iter(objects.listed(url, split(url)[1], most=1)), None)


@contextmanager
def on_this_machine() -> Iterator[None]:
    """Have errors of buckets name this machine as well: another may have its credentials, or its network."""
    try:
        yield
    except (RegistryUnavailable, ExtraMissing) as error:
        where = f"{error.where} on `{machine()}`"
        raise type(error)(**{**vars(error), "where": where}) from error


def machine() -> str:
    """Return the name of this machine, as it calls itself."""
    return socket.gethostname()
