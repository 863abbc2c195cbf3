"""Operators whose work follows from the values of a request, and not from the sizes of its inputs alone.

Nothing that has been measured says how long such a model runs. Reads the graph from the protobuf (a serving
host has no `onnx` package) and computes nothing.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection
from pathlib import Path

from lading.bundle.onnx_wire import Buffer, read_fields
from lading.errors import ModelInvalid

_ALWAYS = {
    b"Loop",
    b"SequenceMap",
    b"NonMaxSuppression",
    b"BeamSearch",
    b"GreedySearch",
    b"Sampling",
    b"WhisperBeamSearch",
}
"""Operators that go on until their own values end them."""

_DECIDING: dict[bytes, tuple[int, ...]] = {
    b"AffineGrid": (1,),
    b"BlackmanWindow": (0,),
    b"CenterCropPad": (1,),
    b"Compress": (1,),
    b"ConstantOfShape": (0,),
    b"CropAndResize": (3,),
    b"DFT": (1,),
    b"DynamicSlice": (1, 2, 3, 4),
    b"Expand": (1,),
    b"GRU": (4,),
    b"HammingWindow": (0,),
    b"HannWindow": (0,),
    b"If": (0,),
    b"ImageDecoder": (0,),
    b"LSTM": (4,),
    b"MaxUnpool": (2,),
    b"MelWeightMatrix": (0, 1, 2, 3, 4),
    b"NonZero": (0,),
    b"OneHot": (1,),
    b"Pad": (1,),
    b"RNN": (4,),
    b"Range": (0, 1, 2),
    b"Reshape": (1,),
    b"Resize": (1, 2, 3),
    b"STFT": (1, 3),
    b"Slice": (1, 2, 3, 4),
    b"Split": (1,),
    b"SplitToSequence": (1,),
    b"Tile": (1, 2),
    b"TopK": (1,),
    b"Unique": (0,),
    b"Upsample": (1,),
}
"""The inputs by which an operator decides how much it computes, or how much it returns for others to do."""

_ONLY_SIZES = {b"Shape", b"Size"}
_DEEPEST = 16

_Span = tuple[int, int]


def first_by_values(path: Path, inputs: Collection[str]) -> str:
    """Return the first operator of an ONNX file whose work follows from values of `inputs`; empty if none.

    Values that follow from constants and sizes are the same in every request of one size. In a function of
    the file, and in the body of an operator, its own inputs pass for values of a request. Raises
    `ModelInvalid`.
    """
    callers = {name.encode() for name in inputs}
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
            # onnx.proto: field 7 of ModelProto is `graph`, field 25 `functions`.
            for number, start, end, _ in read_fields(model, 0, len(model), (7, 25)):
                search = _in_graph if number == 7 else _in_function
                operator = search(model, (start, end), callers)
                if operator:
                    return operator.decode("ascii", "replace")
    except (OSError, ValueError) as error:  # mmap raises `ValueError` for an empty file.
        raise ModelInvalid(f"model `{path.name}`", expected="an ONNX model", found=str(error)) from None
    return ""


def _in_graph(
    model: Buffer, span: _Span, callers: Collection[bytes], outside: Collection[bytes] = (), depth: int = 0
) -> bytes:
    """Search a graph; `outside` are the names around it whose values are the same in every request."""
    nodes, constant = [], set(outside)
    # GraphProto: 1 `node`, 5 `initializer`, 15 `sparse_initializer`, whose field 1 has the values.
    for number, start, end, _ in read_fields(model, *span, (1, 5, 15)):
        if number == 1:
            nodes.append((start, end))
        elif number == 5:
            constant |= _names(model, (start, end), 8)
        else:
            for _, low, high, _ in read_fields(model, start, end, (1,)):
                constant |= _names(model, (low, high), 8)
    return _in_nodes(model, nodes, constant.difference(callers), depth)


def _in_function(model: Buffer, span: _Span, _callers: Collection[bytes]) -> bytes:
    nodes = [(start, end) for _, start, end, _ in read_fields(model, *span, (7,))]
    return _in_nodes(model, nodes, set(), 0)


def _in_nodes(model: Buffer, nodes: list[_Span], constant: set[bytes], depth: int) -> bytes:
    """Search `nodes` in their order, adding to `constant` what they compute of constants and sizes."""
    for start, end in nodes:
        inputs: list[bytes] = []
        outputs: list[bytes] = []
        bodies: list[_Span] = []
        operator = b""
        # NodeProto: 1 `input`, 2 `output`, 4 `op_type`, 5 `attribute`.
        for number, low, high, _ in read_fields(model, start, end, (1, 2, 4, 5)):
            match number:
                case 1:
                    inputs.append(model[low:high])
                case 2:
                    outputs.append(model[low:high])
                case 4:
                    operator = model[low:high]
                case _:  # AttributeProto: 6 `g`, 11 `graphs`.
                    bodies += [(at, to) for _, at, to, _ in read_fields(model, low, high, (6, 11))]
        deciding = [inputs[at] for at in _DECIDING.get(operator, ()) if at < len(inputs) and inputs[at]]
        if operator in _ALWAYS or depth > _DEEPEST or any(name not in constant for name in deciding):
            return operator
        for body in bodies:
            inner = _in_graph(model, body, (), constant, depth + 1)
            if inner:
                return inner
        if operator in _ONLY_SIZES or not (bodies or any(name and name not in constant for name in inputs)):
            constant.update(outputs)
    return b""


def _names(model: Buffer, span: _Span, number: int) -> set[bytes]:
    return {model[start:end] for _, start, end, _ in read_fields(model, *span, (number,))}
