"""Rows for `lading predict` from JSON, CSV and .npz. Checks their form; the signature checks their values."""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from lading.errors import BodyInvalid, EmptyInput, UsageError
from lading.signature import Array, Signature, Tensor

FORMATS = (".json", ".csv", ".npz")


@dataclass(frozen=True)
class Rows:
    """What a request's ``data`` will be; ``arrays`` keeps the dtypes where the source had them."""

    data: Any
    arrays: dict[str, Array] | None = None


def read(source: str, signature: Callable[[], Signature]) -> Rows:
    """Read rows from the file `source`, or from stdin where it is ``-``.

    CSV and .npz call `signature`: their columns and arrays are told apart by it. Raises `BodyInvalid`,
    `EmptyInput`, `UsageError`.
    """
    content, form = _content(source)
    shown = "stdin" if source == "-" else source
    if form == ".json":
        return Rows(_json(content, shown))
    if form == ".csv":
        return Rows(_csv(content, shown, signature()))
    return _npz(content, shown, signature())


def _content(source: str) -> tuple[bytes, str]:
    if source == "-":
        content = sys.stdin.buffer.read()
        if content.startswith(b"PK"):
            return content, ".npz"
        return content, ".json" if content.lstrip()[:1] in (b"[", b"{") else ".csv"
    path = Path(source)
    if path.suffix.lower() not in FORMATS:
        expected = ", ".join(f"`{form}`" for form in FORMATS)
        raise UsageError(
            f"input `{source}`", expected=f"a file ending in {expected}, or `-`", found=f"`{path.suffix}`"
        )
    if not path.is_file():
        raise click.BadParameter(f"file `{source}` does not exist", param_hint="`--input`")
    return path.read_bytes(), path.suffix.lower()


def _json(content: bytes, shown: str) -> Any:
    try:
        value = msgspec.json.decode(content)
    except msgspec.DecodeError as reason:
        raise BodyInvalid(f"`{shown}`", expected="JSON", found=str(reason)) from None
    # The body of a request is taken as well as the rows alone.
    return value["data"] if isinstance(value, dict) and list(value) == ["data"] else value


def _npz(content: bytes, shown: str, signature: Signature) -> Rows:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as reason:
        raise BodyInvalid(f"`{shown}`", expected=".npz arrays without pickle", found=str(reason)) from None
    if len(arrays) == 1 and len(signature.inputs) == 1:
        # `numpy.savez(file, rows)` calls its only array arr_0.
        arrays = {signature.inputs[0].name: next(iter(arrays.values()))}
    return Rows(arrays, arrays)


def _csv(content: bytes, shown: str, signature: Signature) -> list[Any]:
    try:
        text = content.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as reason:
        raise BodyInvalid(f"`{shown}`", expected="CSV in UTF-8", found=str(reason)) from None
    columns = _header(lines, signature)
    rows = lines[1:] if columns is not None else lines
    if not rows:
        raise EmptyInput(f"`{shown}`", expected="at least one row", found="none")
    if columns is not None and signature.columns:
        kinds = [_tensor(signature, column, at) for at, column in enumerate(columns)]
        return [_object(columns, kinds, row, at, shown) for at, row in enumerate(rows)]
    return [[_value(cell, _tensor(signature, None, at)) for at, cell in enumerate(row)] for row in rows]


def _header(lines: list[list[str]], signature: Signature) -> list[str] | None:
    """Give the first line if it names columns: by those names, or because it cannot be a row."""
    if not lines:
        return None
    first = [cell.strip() for cell in lines[0]]
    if signature.columns and set(first) & set(signature.columns):
        return first
    readable = (_value(cell, _tensor(signature, None, at)) is not cell for at, cell in enumerate(first))
    texts = (_tensor(signature, None, at).dtype == "string" for at in range(len(first)))
    return None if all(fits or text for fits, text in zip(readable, texts, strict=True)) else first


def _tensor(signature: Signature, column: str | None, at: int) -> Tensor:
    """Give the input that a column belongs to; what the signature does not have is refused later."""
    if len(signature.inputs) == 1:
        return signature.inputs[0]
    named = {tensor.name: tensor for tensor in signature.inputs}
    if column in named:
        return named[column]
    return signature.inputs[min(at, len(signature.inputs) - 1)]


def _object(columns: list[str], kinds: list[Tensor], row: list[str], at: int, shown: str) -> dict[str, Any]:
    if len(row) != len(columns):
        where = f"`{shown}`, row {at}"
        raise BodyInvalid(where, expected=f"{len(columns)} values as in its header", found=f"{len(row)}")
    return {column: _value(cell, kind) for column, kind, cell in zip(columns, kinds, row, strict=True)}


def _value(cell: str, tensor: Tensor) -> Any:
    """Read a cell as the JSON value it stands for; what is not one stays text, and is refused as that."""
    if tensor.dtype == "string":
        return cell
    text = cell.strip()
    if tensor.dtype == "bool":
        return {"true": True, "false": False}.get(text.lower(), cell)
    if not text or text.lower() in ("nan", "na", "null"):
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return cell
