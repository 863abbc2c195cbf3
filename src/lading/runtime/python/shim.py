"""The process that runs a model's own code, and the messages that it exchanges with the serving process.

Started as ``PYTHON -I shim.py FD`` in the environment of a bundle, where lading is not installed: it needs
Python 3.11 and numpy, and imports nothing else of lading, which is why it is one long file. `process` imports
it, too: both ends of the connection write and read messages by the same lines. Nothing sent is a pickle.

    message   magic, length of the header, length of the payload · header: JSON · payload: the arrays
              A larger payload is in memory that both ends map, and that later messages use again; the
              descriptor of new memory comes along.
    requests  load, run, ping, modules; each has one answer, ``{}`` or ``{"error": …}``

The ``kind`` of an error is ``raised`` (by the model's code), ``output`` (an answer unlike the signature),
``model`` (nothing that could be loaded) or ``memory`` (none left).
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import importlib
import inspect
import json
import math
import mmap
import os
import re
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
Step = Callable[[Arrays], Any]

TRUSTED_FILE = "files/trusted.txt"
"""Types beyond the known ones that a skops file holds, named by the packer, one on each line."""

STEPS = ("preprocess", "predict", "postprocess")
"""What a request passes through in a model's own code, in this order."""


class Model:
    """A model as Python code: override `predict`, `load` if it has files, and the steps around if it has any.

    Inputs and outputs are dictionaries of numpy arrays, rows first; texts are object arrays of ``str``. An
    object answers one request at a time. Its module is imported where lading is not installed: of lading it
    has this class only, beside numpy and the requirements that were packed.
    """

    def load(self, files: Path) -> None:
        """Load what the model needs from the folder `files`; called once, before the first request."""

    def preprocess(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Return what `predict`, or the ONNX model between the steps, is called with."""
        return inputs

    def predict(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Return the outputs for `inputs`, row by row in the same order."""
        raise NotImplementedError(f"{type(self).__name__} has no method `predict`")

    def postprocess(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Return what callers get for `outputs`, which are those of `predict` or of the ONNX model."""
        return outputs


Model.__module__ = "lading"  # Under this name it exists in both processes.


# --- messages ---------------------------------------------------------------------------------------------

INLINE_BYTES = 1 << 16
"""Larger payloads are in memory that both ends map: 0.8 MB and back took 0.3 ms instead of 2.7."""

KEPT_BYTES = 1 << 27
"""More memory than this is given up with the next message."""

_START = struct.Struct("<4sIQ")  # magic, bytes of the header, bytes of the payload
_INLINE, _IN_MEMORY, _FORGET = b"ldg1", b"ldgm", b"ldgf"
_ALIGNMENT = 64
_MOST_HEADER_BYTES = 1 << 20
_RECEIVED_BYTES = 1 << 16
_FEW_USES = 64  # messages in a row that need no memory, until it is given up
# A file that shrinks would end the process that reads its map.
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW

_Described = tuple[str, str, tuple[int, ...], int]  # name, dtype, shape, bytes

_NAMES: dict[np.dtype[Any], str] = {
    np.dtype(name): name
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in _NAMES.items()} | {"string": np.dtype(object)}


class WireError(Exception):
    """Bytes that are not a message."""


class Channel:
    """One end of a connection, used by one thread at a time, which takes turns with the other end.

    `wait` is called before each try to receive (True) or after one to send that would block (False). It may
    raise. `most_bytes` is how large a payload may be.
    """

    def __init__(
        self, connection: socket.socket, wait: Callable[[bool], None] | None = None, most_bytes: int = 1 << 62
    ) -> None:
        self._connection = connection
        self._wait = wait
        self._most_bytes = most_bytes
        self._written: mmap.mmap | None = None
        self._read: mmap.mmap | None = None
        self._unneeded = 0  # messages since `_written` was used
        # Headers, mostly the same as the last: to write and read one takes 5 µs.
        self._sent: tuple[Mapping[str, Any], list[_Described], bytes] = ({}, [], b"")
        self._received: tuple[bytearray, dict[str, Any]] = (bytearray(), {})

    def send(self, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
        """Send a message; raises `OSError` if the connection is closed."""
        described, parts, size = _described(arrays or {})
        last_header, last_described, text = self._sent
        if not text or header != last_header or described != last_described:
            text = json.dumps({**header, "arrays": described}).encode()
            # Filled up with spaces, so that the arrays behind it are aligned in the receiver's memory.
            text += b" " * (-(_START.size + len(text)) % _ALIGNMENT)
            self._sent = header, described, text
        if size > INLINE_BYTES:
            descriptor = self._write(parts, size)
            try:
                self._send(_START.pack(_IN_MEMORY, len(text), size) + text, descriptor)
            finally:
                if descriptor is not None:
                    os.close(descriptor)
            return
        magic = _INLINE
        if self._written is not None:
            self._unneeded += 1
            if self._unneeded >= _FEW_USES or len(self._written) > KEPT_BYTES:
                magic, self._written = _FORGET, None
        self._send(b"".join((_START.pack(magic, len(text), size), text, *parts)))

    def receive(self) -> tuple[dict[str, Any], Arrays]:
        """Receive a message, whose header is not to be changed.

        Raises `EOFError` if the other end is closed, and `WireError`.
        """
        descriptors: list[int] = []
        try:
            data = self._first_bytes(descriptors)
            magic, text_bytes, size = _START.unpack_from(data)
            if magic not in (_INLINE, _IN_MEMORY, _FORGET) or text_bytes > _MOST_HEADER_BYTES:
                raise WireError(f"a message that begins with {bytes(data[: _START.size])!r}")
            if size > self._most_bytes:
                raise WireError(f"a message with {size / 1e6:,.0f} MB")
            payload_at = _START.size + text_bytes
            whole = self._rest(data, payload_at + (0 if magic == _IN_MEMORY else size))
            text, header = whole[_START.size : payload_at], self._received[1]
            if text != self._received[0]:
                header = _header(text)
                self._received = text, header
            if magic != _INLINE:
                self._map(descriptors, 0 if magic == _FORGET else size)
            if magic != _IN_MEMORY:
                return header, _arrays(header, whole, payload_at)
            # The next message overwrites this memory.
            arrays = _arrays(header, memoryview(self._read or b"")[:size], 0)
            return header, {name: array.copy() for name, array in arrays.items()}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def close(self) -> None:
        """Close the connection and release the memory. Twice is no error."""
        self._connection.close()
        self._written = self._read = None

    def _write(self, parts: Sequence[Any], size: int) -> int | None:
        """Write `parts` to memory; return its descriptor if it is new."""
        descriptor = None
        self._unneeded = 0
        if self._written is None or len(self._written) < size or len(self._written) > max(size, KEPT_BYTES):
            descriptor = os.memfd_create("lading", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(descriptor, size)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            self._written = mmap.mmap(descriptor, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        memory = np.frombuffer(self._written, np.uint8)
        at = 0
        for part in parts:
            count = memoryview(part).nbytes
            if count:
                memory[at : at + count] = np.frombuffer(part, np.uint8)
                at += count
        return descriptor

    def _map(self, descriptors: Sequence[int], size: int) -> None:
        """Map the memory that comes with a message; raises `WireError` unless it holds `size` bytes."""
        if not descriptors:
            self._read = self._read if size else None
        elif len(descriptors) == 1:
            try:
                is_sealed = fcntl.fcntl(descriptors[0], fcntl.F_GET_SEALS) & _SEALS == _SEALS
                if not is_sealed:
                    raise WireError("memory that is not sealed")
                # Not populated: a file may have terabytes of holes, and none of them is read.
                self._read = mmap.mmap(descriptors[0], 0, mmap.MAP_SHARED, mmap.PROT_READ)
            except (OSError, ValueError) as error:
                raise WireError(f"a descriptor that is no memory: {error}") from None
        else:
            raise WireError(f"{len(descriptors)} descriptors")
        if size and (self._read is None or len(self._read) < size):
            raise WireError("a message whose memory is missing or too small")

    def _send(self, data: bytes, descriptor: int | None = None) -> None:
        view = memoryview(data)
        rights = []
        if descriptor is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))]
        while view:
            try:
                view = view[self._connection.sendmsg([view], rights) :]
                rights = []
            except BlockingIOError:
                assert self._wait is not None  # only the end that waits does not block
                self._wait(False)

    def _first_bytes(self, descriptors: list[int]) -> bytearray:
        """Receive at least the start of a message; add the descriptors that come with it."""
        if self._wait is not None:
            self._wait(True)
        received, ancillary, _, _ = self._connection.recvmsg(
            _RECEIVED_BYTES, socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors += struct.unpack(f"{len(content) // 4}i", content[: len(content) // 4 * 4])
        if not received:
            raise EOFError
        data = bytearray(received)
        return data if len(data) >= _START.size else self._rest(data, _START.size)

    def _rest(self, data: bytearray, size: int) -> bytearray:
        """Receive until there are `size` bytes; raises `WireError` if there are more."""
        if len(data) >= size:
            if len(data) > size:
                raise WireError(f"{len(data) - size} bytes after the end of a message")
            return data
        whole = bytearray(size)
        whole[: len(data)] = data
        view = memoryview(whole)[len(data) :]
        while view:
            if self._wait is not None:
                self._wait(True)
            count = self._connection.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return whole


def _header(text: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a header that is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise WireError("a header that is no object")
    return header


def _described(arrays: Mapping[str, Array]) -> tuple[list[_Described], list[Any], int]:
    """Return a description of each array, the parts of the payload, and its size."""
    described, parts, size = [], [], 0
    for name, array in arrays.items():
        part: Any
        if array.dtype.hasobject:
            dtype, part = "string", _text_bytes(array)
            count = len(part)
        else:
            dtype, count = _NAMES[array.dtype], array.nbytes
            part = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        if gap := -size % _ALIGNMENT:
            parts.append(bytes(gap))
        parts.append(part)
        described.append((name, dtype, array.shape, count))
        size += gap + count
    return described, parts, size


def _arrays(header: Mapping[str, Any], payload: Any, start: int) -> Arrays:
    """Return the arrays that `header` describes, as views of `payload` from `start` on; texts are copied."""
    arrays: Arrays = {}
    at, end = start, len(payload)
    try:
        for name, dtype_name, shape, count in header.get("arrays", ()):
            dtype, values = _DTYPES[dtype_name], math.prod(shape)
            at += -(at - start) % _ALIGNMENT
            if count < 0 or at + count > end or min(shape, default=0) < 0 or not isinstance(name, str):
                raise WireError(f"an array {name!r} that is not in the message")
            if dtype.hasobject:
                # As bytes of its own: what is decoded must not change meanwhile, as shared memory may.
                flat = _texts(bytes(memoryview(payload)[at : at + count]), values)
            elif values * dtype.itemsize != count:
                raise WireError(f"{count} bytes for {values} values of {dtype_name}")
            else:
                flat = np.frombuffer(payload, dtype, values, at) if values else np.empty(0, dtype)
            arrays[name] = flat.reshape(shape)
            at += count
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"arrays that are not described: {error!r}") from None
    return arrays


def _text_bytes(array: Array) -> bytes:
    """Return texts as their lengths in bytes and their UTF-8."""
    encoded = [text.encode() for text in array.ravel().tolist()]
    lengths = np.fromiter(map(len, encoded), np.uint32, len(encoded))
    return lengths.tobytes() + b"".join(encoded)


def _texts(content: bytes, count: int) -> Array:
    lengths = np.frombuffer(content, np.uint32, count) if count else np.empty(0, np.uint32)
    start, texts = 4 * count, []
    if start + int(lengths.sum(dtype=np.uint64)) != len(content):
        raise WireError("texts of another length than their bytes")
    for length in lengths.tolist():
        texts.append(content[start : start + length].decode())
        start += length
    array = np.empty(count, object)
    array[:] = texts
    return array


# --- answers of the model's code --------------------------------------------------------------------------


class Declared(NamedTuple):
    """An input or output as the signature declares it; a name in shapes is one size, unless it is ``?``."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(map(str, self.shape))}]"


class Refusal(Exception):
    """Something of the model that is not as it must be; ``kind`` is that of the error on the wire."""

    def __init__(self, kind: str, where: str, expected: str, found: str) -> None:
        super().__init__(where)
        self.kind, self.where, self.expected, self.found = kind, where, expected, found


def sizes_of(inputs: Sequence[Declared], arrays: Arrays) -> dict[str, int]:
    """Return the sizes that `arrays` have in the named dimensions of `inputs`."""
    sizes: dict[str, int] = {}
    for declared in inputs:
        array = arrays.get(declared.name)
        if array is not None and array.ndim == len(declared.shape):
            sizes.update(
                (name, size)
                for name, size in zip(declared.shape, array.shape, strict=True)
                if isinstance(name, str)
            )
    if "batch" not in sizes and arrays:  # what the ONNX model between two steps has answered
        first = next(iter(arrays.values()))
        sizes["batch"] = first.shape[0] if first.ndim else 1
    return sizes


def checked_outputs(
    answer: Any, outputs: Sequence[Declared], sizes: Mapping[str, int], names: Sequence[str] | None = None
) -> Arrays:
    """Return those of `outputs` that are called `names`, all if None, as they are declared.

    A value is cast to the declared dtype only if it stays the same: int64 3 becomes float32 3.0, and 16777217
    is refused. `sizes` are those of the request's named dimensions. Raises `Refusal`.
    """
    if not isinstance(answer, Mapping):
        if len(outputs) != 1:
            expected = "a dictionary of " + ", ".join(f"`{output.name}`" for output in outputs)
            raise Refusal("output", "the answer of the model", expected, _title(answer))
        answer = {outputs[0].name: answer}
    wanted = [output for output in outputs if names is None or output.name in names]
    unknown = [name for name in answer if name not in {output.name for output in outputs}]
    missing = [output.name for output in wanted if output.name not in answer]
    if unknown or missing:
        listed = ", ".join(f"`{name}`" for name in answer) or "none"
        expected = ", ".join(f"`{output.name}`" for output in outputs)
        raise Refusal("output", "the outputs of the model", expected, listed)
    own = dict(sizes)
    return {output.name: _checked(output, answer[output.name], own) for output in wanted}


def _checked(output: Declared, value: Any, sizes: dict[str, int]) -> Array:
    where = f"output `{output.name}`"
    if hasattr(value, "toarray"):  # a sparse matrix
        value = value.toarray()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise Refusal("output", where, f"`{output}`", f"{_title(value)} that is no array") from None
    fits = array.ndim == len(output.shape)
    for name, size in zip(output.shape, array.shape, strict=True) if fits else ():
        if name != "?":
            fits = fits and size == (name if isinstance(name, int) else sizes.setdefault(name, size))
    if not fits:
        expected = ", ".join(
            str(sizes.get(size, size) if isinstance(size, str) else size) for size in output.shape
        )
        raise Refusal("output", where, f"shape `[{expected}]`", f"`{list(array.shape)}`")
    if output.dtype == "string":
        return _checked_texts(where, array)
    dtype = _DTYPES[output.dtype]
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "biuf" or not _keeps_values(array, dtype):
        changed = "" if array.dtype.kind not in "biuf" else ", with values that the cast would change"
        raise Refusal("output", where, f"`{output.dtype}`", f"`{array.dtype}`{changed}")
    return array.astype(dtype)


def _checked_texts(where: str, array: Array) -> Array:
    if array.dtype.kind in "UT":
        array = array.astype(object)
    if array.dtype.kind != "O":
        raise Refusal("output", where, "texts", f"`{array.dtype}`")
    for row, text in enumerate(array.ravel().tolist()):
        if not isinstance(text, str):
            raise Refusal("output", where, "texts", f"{_title(text)} at value {row}")
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise Refusal("output", where, "texts that UTF-8 can encode", f"a lone surrogate at value {row}")
    return array


def _keeps_values(array: Array, dtype: np.dtype[Any]) -> bool:
    """Return whether no value of `array` changes when it is cast to `dtype`."""
    kinds = array.dtype.kind + dtype.kind
    # numpy calls casts of large integers to float64 safe.
    if not array.size or (kinds not in ("if", "uf") and np.can_cast(array.dtype, dtype, "safe")):
        return True
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    if kinds == "ff":
        return np.array_equal(cast.astype(array.dtype), array, equal_nan=True)
    if "f" not in kinds:
        low, high = _limits(dtype)
        return low <= int(array.min()) and int(array.max()) <= high
    floats, integers = (array, cast) if kinds[0] == "f" else (cast, array)
    # Beyond the limits of the integers, and between them, a cast of the float means nothing.
    low, high = _limits(integers.dtype)
    wide = floats.astype(np.float64)
    if not np.all((wide >= float(low)) & (wide < float(high + 1)) & (wide == np.trunc(wide))):
        return False
    return np.array_equal(wide.astype(integers.dtype), integers)


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def _title(value: object) -> str:
    kind = type(value).__name__
    return f"{kind} {value}" if isinstance(value, int | float | None) else f"a value of type `{kind}`"


# --- the model --------------------------------------------------------------------------------------------


class Loaded:
    """The model that a request ``load`` names; `run` answers."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        """Import and load it; raises `Refusal`, and whatever the model's code raises."""
        self.inputs = [_declared(tensor) for tensor in request["inputs"]]
        self.answers = {
            step: [_declared(tensor) for tensor in tensors] for step, tensors in request["answers"].items()
        }
        self.most_bytes = request["most_output_bytes"]
        code, files = request["code"], Path(request["files"])
        if code is not None:
            sys.path.insert(0, code)
        self.steps = _steps(request["entry"], files, self.inputs, self.answers)
        steps = request["steps"]
        # A step that the code has and nobody calls would be left out in silence.
        own = [step for step, call in self.steps.items() if not _is_default(call)]
        if not set(own) <= set(steps) <= self.steps.keys() or ("predict" in steps and "predict" not in own):
            listed = ", ".join(f"`{step}`" for step in steps)
            raise Refusal(
                "model",
                f"`{request['entry']}`",
                f"the steps {listed}, as the bundle says",
                ", ".join(f"`{step}`" for step in own) or "none",
            )

    def run(self, request: Mapping[str, Any], arrays: Arrays) -> Arrays:
        """Pass `arrays` through the steps of `request`, and check the answer of the last one."""
        steps, names = request["steps"], request["outputs"]
        sizes = sizes_of(self.inputs, arrays)
        answer: Any = arrays
        for step in steps:
            call = self.steps[step]
            answer = call(answer, names) if isinstance(call, StoredObject) else call(answer)
        outputs = checked_outputs(answer, self.answers[steps[-1]], sizes, names)
        size = sum(map(_size, outputs.values()))
        if size > self.most_bytes:
            expected = f"{self.most_bytes / 1e6:,.0f} MB at most"
            raise Refusal("output", "the outputs of the model", expected, f"{size / 1e6:,.0f} MB")
        return outputs


def _size(array: Array) -> int:
    return sum(map(len, array.ravel().tolist())) if array.dtype.hasobject else array.nbytes


def _is_default(call: Any) -> bool:
    function = getattr(call, "__func__", None)
    return function is not None and function in (Model.preprocess, Model.predict, Model.postprocess)


def _declared(tensor: Sequence[Any]) -> Declared:
    name, dtype, shape, columns = tensor
    return Declared(name, dtype, tuple(shape), tuple(columns))


def _steps(
    entry: str, files: Path, inputs: Sequence[Declared], answers: Mapping[str, Sequence[Declared]]
) -> dict[str, Any]:
    """Return what is called for each step that the object at `entry` has."""
    module, _, name = entry.partition(":")
    if module == "lading":
        return {"predict": StoredObject(name, files, inputs, answers.get("predict", ()))}
    thing: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(thing, part):
            raise Refusal("model", f"`{entry}`", f"`{part}` in the module `{module}`", "none")
        thing = getattr(thing, part)
    if inspect.isclass(thing):
        thing = thing()
    if isinstance(thing, Model):
        thing.load(files)
        return {step: getattr(thing, step) for step in STEPS}
    if hasattr(thing, "load"):
        thing.load(files)
    names = [declared.name for declared in inputs]
    if any(hasattr(thing, step) for step in STEPS):
        return {step: caller_of(getattr(thing, step), names, entry) for step in STEPS if hasattr(thing, step)}
    if not callable(thing):
        raise Refusal("model", f"`{entry}`", "a class with `predict`, or a function", _title(thing))
    return {"predict": caller_of(thing, names, entry)}


def caller_of(function: Any, inputs: Collection[str], entry: str) -> Step:
    """Return what calls `function` for a request: with inputs by name, or with all of them as one.

    Raises `Refusal` if it takes neither.
    """
    signature = inspect.signature(function)
    parameters, names = signature.parameters.values(), set(inputs)
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    if set(needed) <= names and (takes_any or names <= signature.parameters.keys()):
        return lambda arrays: function(**arrays)
    if len(needed) == 1:

        def call(arrays: Arrays) -> Any:
            return function(arrays)

        return call
    listed = ", ".join(f"`{name}`" for name in sorted(names))
    expected = f"one parameter, or those named as the inputs: {listed}"
    raise Refusal("model", f"`{entry}`", expected, f"`{signature}`")


class StoredObject:
    """An estimator that is stored as a file; ``files/model.json`` says how it is called.

    ``call`` are its methods with the names of their outputs (``{"predict": ["label"]}``), several if a method
    returns a tuple, none if it names them itself or has one only. ``columns`` are the names of the columns if
    it takes a data frame, in their order: inputs of one value per row, or columns of inputs. ``flat`` is
    whether rows of one value come as a list (texts). ``floats`` is what its floats are rounded to, as it may
    compute in float64 what is answered in float32.
    ``trusted`` are the types beyond those of skops that the file may hold, known ones only.
    """

    def __init__(
        self, kind: str, files: Path, inputs: Sequence[Declared], outputs: Sequence[Declared]
    ) -> None:
        """Load the object; raises `Refusal`."""
        settings = json.loads((files / "model.json").read_text(encoding="utf-8"))
        keys = {"call", "columns", "flat", "floats", "trusted"}
        if not isinstance(settings, dict) or not {"call"} <= settings.keys() <= keys:
            raise Refusal("model", "`files/model.json`", f"an object of {', '.join(sorted(keys))}", "another")
        self._inputs = inputs
        self._calls: dict[str, list[str]] = settings["call"]
        self._columns: list[str] | None = settings.get("columns")
        self._flat: bool = settings.get("flat", False)
        self._floats: str | None = settings.get("floats")
        self._names = [output.name for output in outputs]
        self._texts = {output.name for output in outputs if output.dtype == "string"}
        if self._columns is None and len(inputs) != 1:
            raise Refusal("model", "`files/model.json`", "`columns`, as there are several inputs", "none")
        self._object = _stored(kind, files / f"model.{kind}", _trusted(files, settings.get("trusted", ())))
        for method in self._calls:
            if not callable(getattr(self._object, method, None)):
                where = f"`{type(self._object).__name__}`"
                raise Refusal("model", where, f"a method `{method}`", "none")

    def __call__(self, inputs: Arrays, names: Sequence[str] | None) -> Arrays:
        """Return the outputs that are called `names`, all if None."""
        rows = self._rows(inputs)
        answers: Arrays = {}
        for method, outputs in self._calls.items():
            if not outputs:
                # Of somebody's own class: taken as it is, and held against the signature later.
                answer = getattr(self._object, method)(rows)
                answers.update(answer if isinstance(answer, Mapping) else {self._names[0]: answer})
            elif names is None or not set(outputs).isdisjoint(names):
                answer = getattr(self._object, method)(rows)
                values = [answer] if len(outputs) == 1 else answer
                answers.update(
                    (name, self._plain(name, value)) for name, value in zip(outputs, values, strict=True)
                )
        return answers

    def _rows(self, inputs: Arrays) -> Any:
        if self._columns is None:
            array = inputs[self._inputs[0].name]
            return array.reshape(len(array)) if self._flat else array
        import pandas  # Only what was trained on a data frame has it in its environment.

        columns: Arrays = {}
        for declared in self._inputs:
            array = inputs[declared.name]
            if declared.columns:
                columns.update(zip(declared.columns, array.T, strict=True))
            else:
                columns[declared.name] = array.reshape(len(array))
        return pandas.DataFrame({name: columns[name] for name in self._columns})

    def _plain(self, name: str, value: Any) -> Any:
        """Return an estimator's answer as one array; it may be one per target, and labels any objects."""
        if (
            isinstance(value, list)
            and len({np.shape(of_target) for of_target in value}) == 1
            and np.ndim(value) > 1
        ):
            value = np.stack(value, axis=1)  # [rows, targets, classes]
        array = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
        if name in self._texts and array.dtype.kind in "OUS":
            return array.astype(str).astype(object)
        return array.astype(self._floats) if self._floats and array.dtype.kind == "f" else array


_KNOWN_FUNCTIONS = frozenset(
    f"{module}.{name}"
    for module, names in {
        "numpy": "amax amin clip max mean median min nan_to_num prod round std sum var",
        # What selectors score columns with, and k-means fits by; estimators keep them after `fit`.
        "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_regression r_regression",
        "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
        # Scorers of searches and of tuned thresholds.
        "sklearn.metrics._classification": "accuracy_score balanced_accuracy_score brier_score_loss f1_score "
        "fbeta_score jaccard_score log_loss matthews_corrcoef precision_score recall_score",
        "sklearn.metrics._ranking": "average_precision_score roc_auc_score top_k_accuracy_score",
        "sklearn.metrics._regression": "explained_variance_score max_error mean_absolute_error "
        "mean_absolute_percentage_error mean_gamma_deviance mean_poisson_deviance mean_squared_error "
        "mean_squared_log_error median_absolute_error r2_score root_mean_squared_error",
        "sklearn.cluster._kmeans": "_kmeans_single_elkan _kmeans_single_lloyd",
        "scipy._lib.array_api_compat.numpy._aliases": "asarray",  # of a spline
    }.items()
    for name in names.split()
)
"""Functions that compute with arrays, and do nothing else: whatever values of requests reach them."""

# Of scikit-learn every class but helpers of its tests; of the others those that estimators hold. No more: a
# distribution of scipy.stats compiles a text of its state when it is loaded, and some classes open files.
_KNOWN_CLASSES = re.compile(
    r"sklearn\.(?!(datasets|externals|utils\._testing)\.)(?!.*\.(tests|conftest|__main__)\.).+"
    r"|scipy\.sparse\._\w+\.(bsr|coo|csc|csr|dia|dok|lil)_(array|matrix)"
    r"|scipy\.interpolate\.(_bsplines\.BSpline|_interpolate\.(interp1d|PPoly|BPoly)|_cubic\.\w+)"
    r"|scipy\.spatial\.(_kdtree\.KDTree|_ckdtree\.cKDTree)"
    r"|numpy\.(dtype|ndarray|ma\.(core\.)?MaskedArray)"
    r"|numpy\.random\.(mtrand\.RandomState|_generator\.Generator|_\w+\.(MT19937|PCG64|PCG64DXSM|Philox|SFC64))"
)

_UFUNCS_AND_SCALARS = re.compile(r"numpy\.\w+|scipy\.special\.(_\w+\.)?\w+")


def is_known_type(name: str) -> bool:
    """Return whether `name` is a class of scikit-learn, or one of numpy or scipy that estimators hold.

    Such a type does nothing when it is loaded but hold values. Any other may do anything with its state or
    with the values of requests; functions too, but for ufuncs and those of a list, which only compute.
    """
    if name in _KNOWN_FUNCTIONS:
        return True
    is_class = _KNOWN_CLASSES.fullmatch(name) is not None
    # Nothing else is even imported: some modules of these packages are programs.
    if not is_class and not _UFUNCS_AND_SCALARS.fullmatch(name):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    if not isinstance(kind, type):
        return isinstance(kind, np.ufunc)
    # What a module has imported from elsewhere has another name of its own.
    own = f"{kind.__module__}.{kind.__qualname__}"
    return issubclass(kind, np.generic) or (is_class and _KNOWN_CLASSES.fullmatch(own) is not None)


def reader_of_files(thing: Any) -> str | None:
    """Return the class of a vectorizer in `thing` that takes texts as names of files, or None."""
    parts, seen = [thing], set()
    while parts:
        part = parts.pop()
        if isinstance(part, str | bytes | int | float | type | None) or id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            parts += part.values()
        elif isinstance(part, list | tuple | set | frozenset):
            parts += part
        elif isinstance(part, np.ndarray):
            parts += part.ravel().tolist() if part.dtype.hasobject else ()
        else:
            own = getattr(part, "__dict__", {})
            if str(own.get("input", "content")) in ("file", "filename") and hasattr(part, "decode"):
                return type(part).__name__
            # A bound method has its object, a partial what it binds.
            parts += (getattr(part, name, None) for name in ("__self__", "func", "args", "keywords"))
            parts += own.values()
    return None


def _trusted(files: Path, known: Sequence[str]) -> list[str]:
    """Return the types that a skops file may hold: known ones, and those that the packer has named.

    A bundle with names of the packer's says so: its manifest has ``executes``.
    """
    for name in known:
        if not is_known_type(name):
            raise Refusal(
                "model", "`files/model.json`", "types of scikit-learn, numpy and scipy", f"`{name}`"
            )
    named = files.parent / TRUSTED_FILE
    return [*known, *named.read_text(encoding="utf-8").splitlines()] if named.is_file() else [*known]


def _stored(kind: str, path: Path, trusted: Sequence[str]) -> Any:
    """Return the object in the file at `path`; joblib and pickle files run what is in them."""
    if kind == "skops":
        import skops.io

        thing = skops.io.load(path, trusted=list(trusted))
        if (reader := reader_of_files(thing)) is not None:
            raise Refusal(
                "model", f"`{reader}`", "an estimator of texts", "one that reads the files they name"
            )
        return thing
    if kind == "joblib":
        import joblib

        return joblib.load(path)
    if kind == "pickle":
        import pickle

        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301 - a bundle that holds one says so, and needs a policy to be served
    raise Refusal(
        "model", "the entry", "`lading:skops`, `lading:joblib` or `lading:pickle`", f"`lading:{kind}`"
    )


# --- the process ------------------------------------------------------------------------------------------

_LONGEST_MESSAGE, _LONGEST_TRACEBACK = 2_000, 16_000


def serve(channel: Channel) -> None:
    """Answer requests until the other end closes the connection."""
    loaded: Loaded | None = None
    # What the environment imports at every start is no need of the model's.
    before = frozenset(sys.modules)
    while True:
        try:
            request, arrays = channel.receive()
        except (EOFError, ConnectionError):
            return
        except MemoryError as error:
            channel.send({"error": _described_error(error)})
            continue
        answer: dict[str, Any] = {}
        outputs: Arrays = {}
        try:
            if request["op"] == "load":
                _limit_memory(request["memory_bytes"])
                loaded = Loaded(request)
                answer = {"python": sys.version.split()[0], "numpy": np.__version__}
                gc.collect()
                gc.freeze()
            elif request["op"] == "modules":
                answer = {"modules": sorted(sys.modules.keys() - before)}
            elif request["op"] == "run":
                assert loaded is not None
                outputs = loaded.run(request, arrays)
        except BaseException as error:  # noqa: BLE001 - a request's, even if it is SystemExit
            answer = {"error": _described_error(error)}
        del request, arrays
        channel.send(answer, outputs)
        del answer, outputs


def _described_error(error: BaseException) -> dict[str, str]:
    if isinstance(error, Refusal):
        return {"kind": error.kind, "where": error.where, "expected": error.expected, "found": error.found}
    text = "".join(traceback.format_exception(error))
    kind = "memory" if isinstance(error, MemoryError) else "raised"
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return {
        "kind": kind,
        "message": _cut(message, _LONGEST_MESSAGE),
        "traceback": _cut(text, _LONGEST_TRACEBACK),
    }


def _cut(text: str, most: int) -> str:
    """Return the text with its middle left out if it is longer, and without what UTF-8 cannot encode."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


def _limit_memory(most_bytes: int) -> None:
    """Let this process have `most_bytes` of data at most, 0 for no limit."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if most_bytes:
        # Not RLIMIT_AS: stacks of threads and mapped libraries take address space that they never use.
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))


def _set_up_process(connection: socket.socket) -> None:
    """Take over nothing from the parent but the connection, which no child of this process gets."""
    kept = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}  # Python ignores the last two
    for number in signal.valid_signals() - kept:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the thread that started it
    faulthandler.enable(2)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    connection.set_inheritable(False)
    os.register_at_fork(after_in_child=connection.close)


def _install() -> None:
    """Make `import lading` work for the model's code, with `Model` and nothing else."""
    module = ModuleType("lading", "What a model's code may use of lading in its own environment: `Model`.")
    module.Model = Model  # type: ignore[attr-defined]

    def missing(name: str) -> NoReturn:
        raise AttributeError(
            f"module 'lading' has no attribute {name!r}: in a model's environment it has `Model` only"
        )

    module.__getattr__ = missing  # type: ignore[method-assign]
    sys.modules["lading"] = module


def main() -> None:
    """Serve the connection whose descriptor is the argument."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    _set_up_process(connection)
    process = os.getpid()
    try:
        serve(Channel(connection))
    finally:
        if os.getpid() != process:  # A child that the model's code has forked came back from it.
            os._exit(1)


if __name__ in (
    "__main__",
    "__mp_main__",
):  # The latter is this file in a process that multiprocessing starts.
    _install()
if __name__ == "__main__":
    main()
