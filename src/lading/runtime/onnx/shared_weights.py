"""Weights that processes share: a copy of the model, optimized once, whose weights file they all map.

The copy is kept for as long as any process has it open; the last one to close it removes it. No error leaves
this module: a model that cannot be shared is opened the usual way, and the log says why.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lading.blobs.locks import DirectoryLock, file_lock, lock_directory
from lading.bundle import MODEL_FILE, Bundle
from lading.bundle.external import external_data
from lading.errors import LadingError
from lading.runtime.host.allocator import trim_heap
from lading.runtime.host.memory import is_memory_backed, memory_available, memory_needed
from lading.runtime.onnx.session import ALIGNED_ABOVE_BYTES, WEIGHTS_FILE, OnnxRuntime
from lading.signature import Array

log = logging.getLogger("lading.runtime")

SHARED_FROM_BYTES = 16_000_000
"""Models with fewer bytes in large tensors are loaded by every process: there is little to save."""

# A process that dies while it makes a copy may have died of that; a third does not try.
_MAX_ATTEMPTS = 2
_PROVED_TOGETHER = 2  # Rows per run: together both sessions take the memory of a few rows only.

# Size of a copy to size of its weights, for float32: as they are, as kernels pack them, and padding.
_GROWTH = 2.2

_ALIGNMENT = 64  # MLAS_DEFAULT_PREFERRED_BUFFER_ALIGNMENT of ONNX Runtime's kernels

# What ONNX Runtime writes into the model for each packed tensor: offset, length and checksum.
_PACKED = re.compile(rb"\|(\d+);(\d+);\d+")


@dataclass(frozen=True)
class Space:
    """The bytes that making a copy takes on the disk, and at its peak in memory."""

    disk: int
    memory: int


class _NotSharedError(Exception):
    """Why a model is not shared, as one sentence; never leaves this module."""


def open_with_shared_weights(
    bundle: Bundle, folder: Path, *, threads: int, space: Space | None = None
) -> OnnxRuntime | None:
    """Open the model of `bundle` from its copy in `folder`, and make the copy first if it does not exist.

    Return None if the model has to be opened the usual way: it has few weights, or the log has a warning.
    `space` is what making the copy takes; it is estimated unless a test passes it.
    """
    if _bundle_bytes(bundle) < SHARED_FROM_BYTES:
        return None
    try:
        weights = bundle.weights_bytes(above=ALIGNED_ABOVE_BYTES)
        if weights < SHARED_FROM_BYTES:
            return None
        space = space or Space(int(_GROWTH * weights), memory_needed(_bundle_bytes(bundle)))
        return _open(bundle, folder, threads, space)
    except OSError as error:
        reason = f"`{error.filename or folder}`: {error.strerror}"
    except LadingError as error:
        reason = error.message
    except _NotSharedError as error:
        reason = str(error)
    log.warning("the weights of %s are not shared between workers: %s", bundle.manifest.name, reason)
    return None


class SharedCopy:
    """A directory with a copy, locked until `release`: nobody removes a copy that another process holds."""

    def __init__(self, lock: DirectoryLock) -> None:
        self._lock = lock

    @property
    def path(self) -> Path:
        """The directory."""
        return self._lock.path

    def rename(self, path: Path) -> None:
        """Rename the directory atomically, and keep holding it."""
        self._lock.rename(path)

    def release(self) -> None:
        """Stop holding the copy, and remove it unless another process holds it. Twice is no error."""
        if self._lock.released:
            return
        # In use by another process, or its folder was removed or is no longer ours.
        with contextlib.suppress(OSError):
            self._lock.if_last(self._remove)
        self._lock.release()

    def _remove(self) -> None:
        # Renamed first: a process that finds the copy under its own name must find all of it.
        removed = self.path.rename(self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}"))
        shutil.rmtree(removed, ignore_errors=True)


class SharedWeightsRuntime(OnnxRuntime):
    """A session whose weights are mapped from a copy, which it holds until it is closed."""

    def __init__(self, copy: SharedCopy, threads: int, *, divisible: bool = False) -> None:
        """Open the model of `copy`; raises what `OnnxRuntime` raises."""
        self.copy = copy
        _check_complete(copy.path)
        super().__init__(copy.path / MODEL_FILE, threads=threads, optimized=True, divisible=divisible)
        # Memory freed after reading the bundle is much of a worker that has no weights: 10 MB of 80.
        trim_heap()

    def close(self) -> None:
        """Release the model's memory and the copy."""
        super().close()
        self.copy.release()


def _open(bundle: Bundle, folder: Path, threads: int, space: Space) -> OnnxRuntime:
    path = folder / bundle.digest.removeprefix("sha256:")
    # One lock for all models: workers load them in the same order, and would wait for each other anyway.
    with file_lock(folder / "lock"):
        copy = _hold(path)
        if copy is None:
            return _make(bundle, path, threads, space)
    try:
        return SharedWeightsRuntime(copy, threads, divisible=bundle.manifest.signature.batched)
    except BaseException:
        copy.release()
        raise


def _hold(path: Path) -> SharedCopy | None:
    """Return the copy at `path`, held, or None if there is none."""
    lock = lock_directory(path)
    return SharedCopy(lock) if lock is not None else None


def _make(bundle: Bundle, path: Path, threads: int, space: Space) -> OnnxRuntime:
    """Make the copy and open it; it gets the name `path` once it is proved."""
    _remove_abandoned(path.parent)
    _check_space(path.parent, space)
    with _counted_attempt(path.with_suffix(".tries")):
        making = path.with_suffix(".making")
        making.mkdir()
        copy = _hold(making)
        assert copy is not None, "nobody removes it: the lock of the folder is held"
        try:
            runtime = _make_proved(bundle, copy, threads)
            copy.rename(path)
        except BaseException:
            copy.release()
            raise
    return runtime


def _make_proved(bundle: Bundle, copy: SharedCopy, threads: int) -> OnnxRuntime:
    """Write the copy and open it; its answers must equal those of the usual session bit for bit.

    Compares on the golden inputs, the copy with the model; the golden outputs are the replay's concern.
    """
    divisible = bundle.manifest.signature.batched
    parts = list(_parts(bundle.samples().inputs, divisible))
    try:
        with bundle.unchanged():
            usual = OnnxRuntime(bundle.model_path, threads=threads, save_to=copy.path / MODEL_FILE)
    except LadingError as error:
        raise _NotSharedError(f"ONNX Runtime cannot write its optimized form: {error.found}") from None
    try:
        expected = [usual.run_whole(part) for part in parts]
    finally:
        usual.close()
    runtime = SharedWeightsRuntime(copy, threads, divisible=divisible)
    try:
        if (runtime.inputs, runtime.outputs) != (usual.inputs, usual.outputs):
            raise _NotSharedError("its optimized form has other inputs or outputs")
        if not all(
            _all_bits_equal(runtime.run_whole(part), before)
            for part, before in zip(parts, expected, strict=True)
        ):
            raise _NotSharedError("its optimized form answers differently on the golden inputs")
    except BaseException:
        runtime.close()
        raise
    return runtime


def _parts(inputs: dict[str, Array], divisible: bool) -> Iterator[dict[str, Array]]:
    """Divide the golden inputs into the same few rows for both sessions; all are one part if they must be."""
    rows = max(len(array) for array in inputs.values()) if divisible else 1
    for start in range(0, rows, _PROVED_TOGETHER):
        part = slice(start, start + _PROVED_TOGETHER)
        yield {name: array[part] for name, array in inputs.items()} if divisible else inputs


def _all_bits_equal(answers: dict[str, Array], expected: dict[str, Array]) -> bool:
    return all(_bits_equal(array, answers[name]) for name, array in expected.items())


def _bits_equal(first: Array, second: Array) -> bool:
    """Return whether two arrays are equal to the last bit, NaN and the sign of zero included."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    if first.dtype == object:
        return bool(first.tolist() == second.tolist())
    return bool(first.tobytes() == second.tobytes())


def _check_complete(folder: Path) -> None:
    """Check that every weight is within the file and aligned; otherwise a kernel would crash the process."""
    model = (folder / MODEL_FILE).read_bytes()
    weights = folder / WEIGHTS_FILE
    size = weights.stat().st_size if weights.exists() else 0
    extents = [(tensor.offset, tensor.length or 0) for tensor in external_data(model)]
    extents += [(int(offset), int(length)) for offset, length in _PACKED.findall(model)]
    end = max((offset + length for offset, length in extents), default=0)
    if end > size:
        raise _NotSharedError(f"expected {end} bytes written, found {size}")
    if any(offset % _ALIGNMENT for offset, length in extents if length):
        raise _NotSharedError("ONNX Runtime writes some of them where its kernels cannot read them")
    if size < SHARED_FROM_BYTES:
        raise _NotSharedError("ONNX Runtime puts too few of them into a file")


def _check_space(folder: Path, needed: Space) -> None:
    """Check that a copy fits on the disk, and in memory as well if the disk is a tmpfs."""
    free = shutil.disk_usage(folder).free
    if free < needed.disk:
        raise _NotSharedError(f"expected {_mb(needed.disk)} free in `{folder}`, found {_mb(free)}")
    memory = needed.memory + (needed.disk if is_memory_backed(folder) else 0)
    available = memory_available()
    if available is not None and available < memory:
        raise _NotSharedError(f"expected {_mb(memory)} of free memory to prepare it, found {_mb(available)}")


def _bundle_bytes(bundle: Bundle) -> int:
    return sum(entry.size for entry in bundle.manifest.files.values())


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _remove_abandoned(folder: Path) -> None:
    """Remove the copies that killed processes left. The caller holds the lock."""
    for path in folder.iterdir():
        if path.is_dir() and (copy := _hold(path)) is not None:
            copy.release()


@contextmanager
def _counted_attempt(file: Path) -> Iterator[None]:
    """Count an attempt in `file` until one succeeds; raise if too many have failed."""
    with file.open("ab") as attempts:
        if attempts.tell() >= _MAX_ATTEMPTS:
            raise _NotSharedError(f"{_MAX_ATTEMPTS} workers have failed to prepare it")
        attempts.write(b".")
    yield
    file.unlink()
