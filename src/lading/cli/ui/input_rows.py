"""Rows for `lading predict` from JSON, CSV and .npz. Checks their form; the signature checks their values."""

from __future__ import annotations

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

from lading.errors import BodyInvalid, UsageError
from lading.signature import Array, Signature
from lading.signature.csvtext import read_csv

FORMATS = (".json", ".csv", ".npz")


@dataclass(frozen=True)
class Rows:
    """What a request's ``data`` will be; ``arrays`` keeps the dtypes where the source had them."""

    data: Any
    arrays: dict[str, Array] | None = None


def read(source: str, signature: Callable[[], Signature]) -> Rows:
    """Read rows from the file `source`, or from stdin where it is ``-``.

    CSV and .npz call `signature`: their columns and arrays are told apart by it. Raises `InputError`,
    `UsageError`.
    """
    content, form = _content(source)
    shown = "stdin" if source == "-" else source
    if form == ".json":
        return Rows(_json(content, shown))
    if form == ".csv":
        arrays = read_csv(signature(), content, f"`{shown}`")
        return Rows(arrays, arrays)
    return _npz(content, shown, signature())


def _content(source: str) -> tuple[bytes, str]:
    if source == "-":
        content = sys.stdin.buffer.read()
        if content.startswith(b"PK"):
            return content, ".npz"
        return content, ".json" if content.lstrip()[:1] in (b"[", b"{") else ".csv"
    path = Path(source)
    if not path.is_file():
        raise click.BadParameter(f"file `{source}` does not exist", param_hint="`--input`")
    if path.suffix.lower() not in FORMATS:
        expected = ", ".join(f"`{form}`" for form in FORMATS)
        found = f"`{path.suffix}`" if path.suffix else "no ending"
        raise UsageError(f"input `{source}`", expected=f"a file ending in {expected}, or `-`", found=found)
    return path.read_bytes(), path.suffix.lower()


def _json(content: bytes, shown: str) -> Any:
    try:
        value = msgspec.json.decode(content)
    except ValueError as reason:
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
