"""Which files outside itself an ONNX model reads: a walk over its protobuf bytes, without the onnx package.

It visits every TensorProto that a model can hold (initializers, attributes, sparse tensors, subgraphs,
functions, training graphs) and skips everything else unread, so that weights cost nothing. It does not
check that the model makes sense: the session does.

Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lading.bundle.manifest import MODEL_FILE, shown
from lading.bundle.onnx_wire import Buffer, fields, malformed
from lading.errors import ExternalDataEscapes, ModelInvalid

_MAX_DEPTH = 100  # as protobuf itself: deeper messages are refused by every reader

# message -> field number -> the message that is in it
_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
    "Entry": {},
}  # fmt: skip
_DATA_LOCATION = 14
_KEY, _VALUE = 1, 2


@dataclass(frozen=True, slots=True)
class External:
    """One reference of a tensor to bytes in a file; ``length`` None is the rest of the file.

    It is ``packed`` where ONNX Runtime is given another form of the weights, made for one kernel, beside it.
    """

    location: str
    offset: int = 0
    length: int | None = None
    packed: bool = False


def external_data(model: Buffer) -> list[External]:
    """List every reference to external data in the ONNX `model`; raises `ModelInvalid`.

    A tensor that names a location counts even where it says that its data is inside: whether it is read
    must not depend on how a runtime understands a contradiction.
    """
    return [one for start, end in _tensors(model) for one in _tensor(model, start, end)]


def tensor_sizes(model: Buffer, sizes: Mapping[str, int]) -> Iterator[int]:
    """Return the bytes of each tensor of the ONNX `model`, inside it or in a file whose size is in `sizes`.

    Raises `ModelInvalid`.
    """
    for start, end in _tensors(model):
        outside = _tensor(model, start, end)
        for one in outside:
            yield one.length if one.length is not None else sizes[one.location] - one.offset
        if not outside:
            yield end - start


def _tensors(model: Buffer) -> Iterator[tuple[int, int]]:
    """Return where each tensor of the model starts and ends."""
    if len(model) == 0:
        raise ModelInvalid(f"`{MODEL_FILE}`", expected="an ONNX model", found="an empty file")
    if model[4:8] == b"ORTM":
        found = "ONNX Runtime's own flatbuffer form"
        raise ModelInvalid(f"`{MODEL_FILE}`", expected="an ONNX model", found=found)
    found_graph = False
    todo = [("Model", 0, len(model), 0)]
    while todo:
        message, start, end, depth = todo.pop()
        if depth > _MAX_DEPTH:
            malformed("messages nested more deeply than protobuf reads", start)
        if message == "Tensor":
            yield start, end
            continue
        children = _CHILDREN[message]
        for number, low, high, _ in fields(model, start, end, children):
            if number in children:
                found_graph = found_graph or message == "Model"
                todo.append((children[number], low, high, depth + 1))
    if not found_graph:
        raise ModelInvalid(f"`{MODEL_FILE}`", expected="an ONNX model", found="no graph in it")


def check_external(references: list[External], sizes: Mapping[str, int]) -> set[str]:
    """Check that each reference stays within the files that `sizes` names; return the names that are read.

    Raises `ExternalDataEscapes`, `ModelInvalid`.
    """
    for reference in references:
        name = reference.location
        if name not in sizes:
            known = ", ".join(f"`{name}`" for name in sorted(sizes)) or "but it has none for that"
            raise ExternalDataEscapes(
                f"external data of `{MODEL_FILE}`",
                expected=f"a file of the bundle: {known}",
                found=shown(name),
            )
        end = reference.offset + (reference.length or 0)
        if end > sizes[name]:
            expected = f"at most {sizes[name]} bytes of `{name}`"
            raise ExternalDataEscapes(f"external data of `{MODEL_FILE}`", expected=expected, found=f"{end}")
        if reference.packed:
            # ONNX Runtime believes their length, and reads what lies behind where it is too short.
            found = "weights packed for a kernel"
            raise ModelInvalid(
                f"external data of `{MODEL_FILE}`", expected="weights as they are", found=found
            )
    return {reference.location for reference in references}


def _tensor(model: Buffer, start: int, end: int) -> list[External]:
    entries: dict[str, str] = {}
    outside = False
    for number, low, high, value in fields(model, start, end, _CHILDREN["Tensor"], (_DATA_LOCATION,)):
        if number == 13:
            key, text = _entry(model, low, high)
            if key in entries:
                malformed(f"a tensor with `{key}` of external data twice", low)
            entries[key] = text
        elif number == _DATA_LOCATION:
            outside = value != 0
    if "location" in entries:
        length = _number(entries["length"], start) if "length" in entries else None
        packed = any(key.startswith("prepacked") for key in entries)
        return [External(entries["location"], _number(entries.get("offset", "0"), start), length, packed)]
    if outside or entries:
        malformed("a tensor with external data and no `location`", start)
    return []


def _entry(model: Buffer, start: int, end: int) -> tuple[str, str]:
    texts: dict[int, str] = {}
    for number, low, high, _ in fields(model, start, end, (_KEY, _VALUE)):
        if number in texts:
            malformed("a key or value of external data twice", low)
        if number in (_KEY, _VALUE):
            try:
                texts[number] = bytes(model[low:high]).decode()
            except UnicodeDecodeError:
                malformed("external data that is not UTF-8", low)
    return texts.get(_KEY, ""), texts.get(_VALUE, "")


def _number(text: str, at: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        malformed(f"an offset or length of external data that is no number: {text[:40]!r}", at)
    return int(text)
