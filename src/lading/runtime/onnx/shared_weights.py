"""A prepared copy of a model: optimized once, its weights in a file that all who open it map and share.

ONNX Runtime maps external data, but copies the weights that its kernels pack in another order when a model
loads; a prepared copy has those packed already. The first process that asks makes it while others wait. It
is there for as long as anybody has it open: whoever closes it last removes it.

Nothing here fails: a model that cannot be shared is opened the usual way, and a line in the log says why.
The copy is held against the usual session, bit for bit, on the golden inputs; what they should give is for
the replay to say.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lading.bundle import MODEL_FILE, Bundle
from lading.bundle.external import external_data
from lading.errors import LadingError
from lading.runtime.host.allocator import trim_heap
from lading.runtime.host.memory import lies_in_memory, memory_available, memory_needed
from lading.runtime.onnx.session import ALIGNED_ABOVE_BYTES, WEIGHTS_FILE, OnnxRuntime
from lading.signature import Array

log = logging.getLogger("lading.runtime")

SHARED_FROM_BYTES = 16_000_000
"""A model with fewer bytes in large tensors is loaded by every process: there is little to save."""

_MOST_TRIES = 2
"""A process that ends while it makes a copy may have been ended by that; a third does not try."""

_GROWTH = 2.2
"""The bytes of a copy for each of weights, float32: as they are, and as kernels have packed them."""

_ALIGNMENT = 64

_PACKED = re.compile(rb"\|(\d+);(\d+);\d+")


class _NotSharedError(Exception):
    """Why a model is not shared, as one sentence; never leaves this file."""


def open_prepared(bundle: Bundle, folder: Path, *, threads: int) -> OnnxRuntime | None:
    """Open the model of `bundle` by its prepared copy in `folder`, which is made if it is not there.

    None where it has to be opened the usual way: it has few weights, or the log has a warning.
    """
    if sum(entry.size for entry in bundle.manifest.files.values()) < SHARED_FROM_BYTES:
        return None
    try:
        weights = bundle.weights_bytes(above=ALIGNED_ABOVE_BYTES)
        return _open(bundle, folder, weights, threads) if weights >= SHARED_FROM_BYTES else None
    except OSError as error:
        why = f"`{error.filename or folder}`: {error.strerror}"
    except LadingError as error:
        why = error.message
    except _NotSharedError as error:
        why = str(error)
    log.warning("the weights of %s are not shared between workers: %s", bundle.manifest.name, why)
    return None


class Copy:
    """A directory with a prepared copy, held until `let_go`: nobody removes what another process holds."""

    def __init__(self, path: Path) -> None:
        """Hold the directory at `path`; raises `FileNotFoundError` where there is none."""
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_SH)
        except BaseException:
            os.close(self._handle)
            raise

    @property
    def is_there(self) -> bool:
        """Whether it was not removed between being found and being held."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._handle))
        except FileNotFoundError:
            return False

    def move(self, path: Path) -> None:
        """Give it another name, at once."""
        self.path = self.path.rename(path)

    def let_go(self) -> None:
        """Hold it no longer, and remove it unless another process does; again is harmless."""
        handle, self._handle = self._handle, -1
        if handle < 0:
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Under another name first: whoever finds it by its own finds all of it.
            gone = self.path.rename(self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}"))
            shutil.rmtree(gone, ignore_errors=True)
        except OSError:
            pass  # In use elsewhere, or its folder is gone or not ours any more.
        finally:
            os.close(handle)


class PreparedRuntime(OnnxRuntime):
    """A session whose weights lie in a copy, which it holds until it is closed."""

    def __init__(self, copy: Copy, threads: int) -> None:
        """Open the model of `copy`; raises what `OnnxRuntime` raises."""
        self.copy = copy
        _check_whole(copy.path)
        super().__init__(copy.path / MODEL_FILE, threads=threads, optimized=True)
        # What reading the bundle has freed is a good part of a worker without weights: 10 MB of 80.
        trim_heap()

    def close(self) -> None:
        """Release the model's memory and the copy."""
        super().close()
        self.copy.let_go()


def _open(bundle: Bundle, folder: Path, weights: int, threads: int) -> OnnxRuntime:
    path = folder / bundle.digest.removeprefix("sha256:")
    # One lock for all models: workers load them in the same order, and would wait for each other anyway.
    with _locked(folder / "lock"):
        copy = _found(path)
        if copy is None:
            return _make(bundle, path, weights, threads)
    try:
        return PreparedRuntime(copy, threads)
    except BaseException:
        copy.let_go()
        raise


def _found(path: Path) -> Copy | None:
    try:
        copy = Copy(path)
    except FileNotFoundError:
        return None
    if copy.is_there:
        return copy
    copy.let_go()
    return None


def _make(bundle: Bundle, path: Path, weights: int, threads: int) -> OnnxRuntime:
    """Make the copy at `path` and open it; what is made appears under that name when it is proved."""
    _sweep(path.parent)
    _check_room(path.parent, weights, sum(entry.size for entry in bundle.manifest.files.values()))
    with _counted(path.with_suffix(".tries")):
        making = path.with_suffix(".making")
        making.mkdir()
        copy = Copy(making)
        try:
            runtime = _proved(bundle, copy, threads)
            copy.move(path)
        except BaseException:
            copy.let_go()
            raise
    return runtime


def _proved(bundle: Bundle, copy: Copy, threads: int) -> OnnxRuntime:
    """Write the copy and open it; it must give what the usual session gives, bit for bit."""
    inputs = bundle.samples().inputs
    try:
        usual = OnnxRuntime(bundle.model_path, threads=threads, save_to=copy.path / MODEL_FILE)
    except LadingError as error:
        raise _NotSharedError(f"ONNX Runtime cannot write its optimized form: {error.found}") from None
    try:
        expected = usual.run(inputs)
    finally:
        usual.close()
    runtime = PreparedRuntime(copy, threads)
    try:
        if (runtime.inputs, runtime.outputs) != (usual.inputs, usual.outputs):
            raise _NotSharedError("its optimized form has other inputs or outputs")
        found = runtime.run(inputs)
        if not all(_same(array, found[name]) for name, array in expected.items()):
            raise _NotSharedError("its optimized form answers otherwise on the golden inputs")
    except BaseException:
        runtime.close()
        raise
    return runtime


def _same(one: Array, other: Array) -> bool:
    """Return whether two arrays are the same to the last bit, NaN and the sign of zero included."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()


def _check_whole(folder: Path) -> None:
    """Check that every weight lies inside the file and is aligned; a kernel would end the process if not."""
    model = (folder / MODEL_FILE).read_bytes()
    weights = folder / WEIGHTS_FILE
    size = weights.stat().st_size if weights.exists() else 0
    places = [(one.offset, one.length or 0) for one in external_data(model)]
    places += [(int(offset), int(length)) for offset, length in _PACKED.findall(model)]
    end = max((offset + length for offset, length in places), default=0)
    if end > size:
        raise _NotSharedError(f"expected {end} bytes written, found {size}")
    if any(offset % _ALIGNMENT for offset, length in places if length):
        raise _NotSharedError("ONNX Runtime writes some of them where its kernels cannot read them")
    if size < SHARED_FROM_BYTES:
        raise _NotSharedError("ONNX Runtime puts too few of them into a file")


def _check_room(folder: Path, weights: int, bundle_size: int) -> None:
    """Check that a copy fits on the disk, and in the memory where that is the disk."""
    size = int(_GROWTH * weights)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise _NotSharedError(f"expected {_mb(size)} free in `{folder}`, found {_mb(free)}")
    needed = memory_needed(bundle_size) + (size if lies_in_memory(folder) else 0)
    available = memory_available()
    if available is not None and available < needed:
        raise _NotSharedError(f"expected {_mb(needed)} of free memory to prepare it, found {_mb(available)}")


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _sweep(folder: Path) -> None:
    """Remove the copies that killed processes left; only who holds the lock may."""
    for path in folder.iterdir():
        if path.is_dir() and (left := _found(path)) is not None:
            left.let_go()


@contextmanager
def _counted(file: Path) -> Iterator[None]:
    """Count a try in `file`, until one succeeds; raise where too many have not."""
    with file.open("ab") as tries:
        if tries.tell() >= _MOST_TRIES:
            raise _NotSharedError(f"{_MOST_TRIES} workers have failed to prepare it")
        tries.write(b".")
    yield
    file.unlink()


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the lock of the folder; the kernel frees it with the process, however that ends."""
    with file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
