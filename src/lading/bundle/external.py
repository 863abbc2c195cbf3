"""The external files that an ONNX model reads, by a walk over its protobuf bytes without the onnx package.

The walk visits every TensorProto that a model can hold (initializers, attributes, sparse tensors, subgraphs,
functions, training graphs) and skips everything else unread, so that weights cost nothing. Whether the model
makes sense is left to the session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lading.bundle.manifest import MODEL_FILE, quote
from lading.bundle.onnx_wire import Buffer, raise_malformed, read_fields
from lading.errors import ExternalDataEscapes, ModelInvalid

_MAX_DEPTH = 100  # As in protobuf itself: every reader refuses deeper messages.

# message -> field number -> message in that field; the numbers are those of onnx.proto
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
class ExternalData:
    """One reference of a tensor to bytes in a file; ``length`` None means the rest of the file.

    ``prepacked`` is true if it comes with a copy of the weights in the layout of one kernel of ONNX Runtime.
    """

    location: str
    offset: int = 0
    length: int | None = None
    prepacked: bool = False


def external_data(model: Buffer) -> list[ExternalData]:
    """List every reference to external data in the ONNX `model`; raises `ModelInvalid`.

    A tensor with a location counts even if it states that its data is inside: whether a file is read must
    not depend on how a runtime resolves the contradiction.
    """
    return [reference for start, end in _tensors(model) for reference in _references(model, start, end)]


def tensor_sizes(model: Buffer, sizes: Mapping[str, int]) -> Iterator[int]:
    """Return the bytes of each tensor of the ONNX `model`, inside it or in a file whose size is in `sizes`.

    Raises `ModelInvalid`.
    """
    for start, end in _tensors(model):
        references = _references(model, start, end)
        for reference in references:
            if reference.length is not None:
                yield reference.length
            else:
                yield sizes[reference.location] - reference.offset
        if not references:
            yield end - start


def _tensors(model: Buffer) -> Iterator[tuple[int, int]]:
    """Return start and end of each tensor of the model."""
    if len(model) == 0:
        raise ModelInvalid(f"`{MODEL_FILE}`", expected="an ONNX model", found="an empty file")
    if model[4:8] == b"ORTM":  # The identifier of the `.ort` format.
        form = "ONNX Runtime's own flatbuffer form"
        raise ModelInvalid(f"`{MODEL_FILE}`", expected="an ONNX model", found=form)
    has_graph = False
    # A stack of its own instead of recursion: the depth of the messages is the attacker's choice.
    pending = [("Model", 0, len(model), 0)]
    while pending:
        message, start, end, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise_malformed("messages nested more deeply than protobuf reads", start)
        if message == "Tensor":
            yield start, end
            continue
        children = _CHILDREN[message]
        for number, low, high, _ in read_fields(model, start, end, children):
            if number in children:
                has_graph = has_graph or message == "Model"
                pending.append((children[number], low, high, depth + 1))
    if not has_graph:
        raise ModelInvalid(f"`{MODEL_FILE}`", expected="an ONNX model", found="no graph in it")


def check_external(references: list[ExternalData], sizes: Mapping[str, int]) -> set[str]:
    """Check that each reference stays within the files in `sizes`; return the names of the files it reads.

    Raises `ExternalDataEscapes`, `ModelInvalid`.
    """
    for reference in references:
        name = reference.location
        if name not in sizes:
            known = ", ".join(f"`{name}`" for name in sorted(sizes)) or "but it has none for that"
            raise ExternalDataEscapes(
                f"external data of `{MODEL_FILE}`",
                expected=f"a file of the bundle: {known}",
                found=quote(name),
            )
        end = reference.offset + (reference.length or 0)
        if end > sizes[name]:
            expected = f"at most {sizes[name]} bytes of `{name}`"
            raise ExternalDataEscapes(f"external data of `{MODEL_FILE}`", expected=expected, found=f"{end}")
        if reference.prepacked:
            # ONNX Runtime trusts the length of such weights and reads past their end if it is too small.
            raise ModelInvalid(
                f"external data of `{MODEL_FILE}`",
                expected="weights as they are",
                found="weights packed for a kernel",
            )
    return {reference.location for reference in references}


def _references(model: Buffer, start: int, end: int) -> list[ExternalData]:
    """Return the reference of one tensor to external data; an empty list if its data is inside."""
    entries: dict[str, str] = {}
    is_outside = False
    for number, low, high, value in read_fields(model, start, end, _CHILDREN["Tensor"], (_DATA_LOCATION,)):
        if number == 13:
            key, text = _read_entry(model, low, high)
            if key in entries:
                raise_malformed(f"a tensor with `{key}` of external data twice", low)
            entries[key] = text
        elif number == _DATA_LOCATION:
            is_outside = value != 0
    if "location" in entries:
        length = _number(entries["length"], start) if "length" in entries else None
        prepacked = any(key.startswith("prepacked") for key in entries)
        return [
            ExternalData(entries["location"], _number(entries.get("offset", "0"), start), length, prepacked)
        ]
    if is_outside or entries:
        raise_malformed("a tensor with external data and no `location`", start)
    return []


def _read_entry(model: Buffer, start: int, end: int) -> tuple[str, str]:
    texts: dict[int, str] = {}
    for number, low, high, _ in read_fields(model, start, end, (_KEY, _VALUE)):
        if number in texts:
            raise_malformed("a key or value of external data twice", low)
        if number in (_KEY, _VALUE):
            try:
                texts[number] = bytes(model[low:high]).decode()
            except UnicodeDecodeError:
                raise_malformed("external data that is not UTF-8", low)
    return texts.get(_KEY, ""), texts.get(_VALUE, "")


def _number(text: str, at: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise_malformed(f"an offset or length of external data that is no number: {text[:40]!r}", at)
    return int(text)
