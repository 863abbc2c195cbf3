"""Amazon SageMaker's contract for a container: ``/ping``, and the content types of its clients.

The route ``/invocations``, which MLflow shares, is in `invocations`. Besides JSON and CSV, rows come and
answers go as JSON lines and as NumPy's files. SageMaker's multi-model endpoints are not supported: their
path, ``/models``, lists lading's own models.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lading.errors import AnswerTypeRefused, BodyInvalid, EmptyInput
from lading.server.codecs import dataframe, nan_json
from lading.server.http.messages import Request, Response
from lading.server.inference.dataplane import DataPlane
from lading.server.protocols import DECODE_ERRORS, decode_error_text
from lading.server.protocols.tfs import json_bodies
from lading.signature import Array, Signature

JSON, CSV, LINES, NPY = "application/json", "text/csv", "application/jsonlines", "application/x-npy"
ALIASES = dict.fromkeys(("application/x-jsonlines", "application/jsonl", "application/x-ndjson"), LINES)
"""Other names of content types."""

Write = Callable[[Sequence[Array]], Response]
"""Writes the outputs of an answer."""


def ping(_request: Request, plane: DataPlane) -> Response:
    """Answer an empty 200 when every model is ready; raises `ModelNotReady` otherwise."""
    plane.readiness.require()
    return Response(b"", content_type=b"text/plain; charset=utf-8")


def read_lines(signature: Signature, body: bytes) -> dict[str, Array]:
    """Read a row from each line: a list, a value, an object by column, or ``{"features": row}``."""
    rows = []
    for number, line in enumerate(body.splitlines(), start=1):
        if line.strip():
            value = _parse_line(line, number)
            is_wrapped = isinstance(value, dict) and list(value) == ["features"]
            rows.append(value["features"] if is_wrapped and "features" not in signature.columns else value)
    if not rows:
        raise EmptyInput("body", expected="at least one line", found="none")
    if any(tensor.dtype == "string" for tensor in signature.inputs):
        rows = json_bodies.decode_strings(rows)
    return dataframe.from_instances(signature, rows, "$")


def _parse_line(line: bytes, number: int) -> Any:
    try:
        return nan_json.loads(line)
    except DECODE_ERRORS as error:
        where, text = f"body, line {number}", decode_error_text(error)
        raise BodyInvalid(where, expected="JSON", found=text) from None


def read_npy(signature: Signature, body: bytes) -> dict[str, Array]:
    """Read the only input, or rows of one value for each input, from the array of a ``.npy`` file."""
    array = _parse_npy(body)
    if len(signature.inputs) > 1:
        return dataframe.from_rows(signature, array.tolist(), "$")
    if array.dtype.kind == "U":
        array = array.astype(object)
    return signature.cast({signature.inputs[0].name: array})


READERS: Mapping[str, Callable[[Signature, bytes], dict[str, Array]]] = {LINES: read_lines, NPY: read_npy}
"""The readers of the content types that only SageMaker has."""


def _parse_npy(body: bytes) -> Array:
    """Return the array of a file. Its header is not trusted: numpy's own reader allocates what it states."""
    file, readers = io.BytesIO(body), np.lib.format
    try:
        version = readers.read_magic(file)
        read = readers.read_array_header_1_0 if version == (1, 0) else readers.read_array_header_2_0
        shape, by_column, dtype = read(file)
        if dtype.hasobject or dtype.kind not in "biufU":
            raise BodyInvalid("body", expected="an array of numbers or text", found=f"`{dtype}`")
        array: Array = np.frombuffer(body, dtype, offset=file.tell())
        return array.reshape(shape[::-1]).T if by_column else array.reshape(shape)
    except (ValueError, OverflowError, RecursionError, EOFError) as error:
        raise BodyInvalid("body", expected="a `.npy` file", found=str(error)) from None


def writer(accept: bytes) -> Write | None:
    """Return what writes the type that a client likes best, None for JSON; raises `AnswerTypeRefused`.

    Types have a quality (``q``); of equal ones the first wins.
    """
    if not accept:
        return None
    liked = sorted(_qualities(accept.decode("latin-1")), key=lambda item: -item[1])
    for kind, quality in liked:
        if quality > 0 and kind in _WRITERS:
            return _WRITERS[kind]
    known = ", ".join(f"`{kind}`" for kind in (JSON, CSV, LINES, NPY))
    raise AnswerTypeRefused("`accept`", expected=f"one of {known}", found=f"`{accept.decode('latin-1')}`")


def _qualities(accept: str) -> list[tuple[str, float]]:
    qualities = []
    for item in accept.split(","):
        kind, *options = (part.strip().lower() for part in item.split(";"))
        quality = next((option[2:] for option in options if option.startswith("q=")), "1")
        try:
            qualities.append((ALIASES.get(kind, kind), float(quality)))
        except ValueError:
            qualities.append((kind, 0.0))
    return qualities


def csv_response(outputs: Sequence[Array]) -> Response:
    """Write outputs side by side, one line per row, without a header."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    rows = max((len(array) for array in outputs if array.ndim), default=1)
    if not rows or any(array.size % rows for array in outputs):
        shapes = ", ".join(f"`{list(array.shape)}`" for array in outputs)
        raise BodyInvalid("answer as CSV", expected="outputs with one value or more a row", found=shapes)
    # str() of a numpy scalar is the shortest text that reads back as the same number of the same width.
    columns = [
        array.reshape(rows, -1).astype(str if array.dtype != object else object) for array in outputs
    ]  # [rows, values per row]
    for row in range(rows):
        lines.writerow([cell for column in columns for cell in column[row]])
    return Response(text.getvalue().encode(), content_type=b"text/csv; charset=utf-8")


def lines_response(outputs: Sequence[Array]) -> Response:
    """Write a line for each row: the row of the only output, else a list of those of all."""
    rows = {len(array) if array.ndim else -1 for array in outputs}
    if len(rows) != 1 or -1 in rows:
        shapes = ", ".join(f"`{list(array.shape)}`" for array in outputs)
        raise BodyInvalid("answer as JSON lines", expected="outputs of as many rows", found=shapes)
    lines = []
    for parts in zip(*outputs, strict=True):
        plain = [json_bodies.plain_value(part) for part in parts]
        lines.append(json_bodies.dumps(plain[0] if len(plain) == 1 else plain))
    return Response(b"".join(line + b"\n" for line in lines), content_type=LINES.encode())


def npy_response(outputs: Sequence[Array]) -> Response:
    """Write the only output as a ``.npy`` file, text as NumPy's own."""
    if len(outputs) != 1:
        raise BodyInvalid("answer as `.npy`", expected="one output", found=f"{len(outputs)}")
    (array,), file = outputs, io.BytesIO()
    np.save(file, array.astype(str) if array.dtype == object else array, allow_pickle=False)
    return Response(file.getvalue(), content_type=NPY.encode())


_WRITERS: Mapping[str, Write | None] = {
    JSON: None,
    "application/*": None,
    "*/*": None,
    CSV: csv_response,
    "text/*": csv_response,
    LINES: lines_response,
    NPY: npy_response,
}
