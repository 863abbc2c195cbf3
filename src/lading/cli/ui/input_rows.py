"""Rows for `lading predict` from JSON, CSV and .npz. Checks their form; the signature checks the values."""

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
    """The ``data`` of a request; ``arrays`` is set if the source has dtypes, and keeps them."""

    data: Any
    arrays: dict[str, Array] | None = None


def read_rows(source: str, signature: Callable[[], Signature]) -> Rows:
    """Read rows from the file `source`, or from stdin if it is ``-``.

    Raises `InputError`, `UsageError`.
    """
    content, form = _read_source(source)
    where = "stdin" if source == "-" else source
    if form == ".json":
        return Rows(_json(content, where))
    # The columns of a CSV and the arrays of an .npz are assigned to inputs by the signature, which may have
    # to be fetched from a server: JSON does without it.
    if form == ".csv":
        arrays = read_csv(signature(), content, f"`{where}`")
        return Rows(arrays, arrays)
    return _npz(content, where, signature())


def _read_source(source: str) -> tuple[bytes, str]:
    if source == "-":
        content = sys.stdin.buffer.read()
        # Without a file name the content decides; a zip, such as an .npz, begins with PK.
        if content.startswith(b"PK"):
            return content, ".npz"
        return content, ".json" if content.lstrip()[:1] in (b"[", b"{") else ".csv"
    path = Path(source)
    if not path.is_file():
        raise click.BadParameter(f"file `{source}` does not exist", param_hint="`--input`")
    if path.suffix.lower() not in FORMATS:
        expected = ", ".join(f"`{form}`" for form in FORMATS[:-1]) + f" or `{FORMATS[-1]}`"
        actual = f"`{path.suffix}`" if path.suffix else "no extension"
        raise UsageError(f"input `{source}`", expected=f"a {expected} file, or `-`", found=actual)
    return path.read_bytes(), path.suffix.lower()


def _json(content: bytes, where: str) -> Any:
    try:
        value = msgspec.json.decode(content)
    except ValueError as reason:
        raise BodyInvalid(f"`{where}`", expected="JSON", found=str(reason)) from None
    # Accept the body of a request as well as the rows alone.
    return value["data"] if isinstance(value, dict) and list(value) == ["data"] else value


def _npz(content: bytes, where: str, signature: Signature) -> Rows:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as reason:
        raise BodyInvalid(f"`{where}`", expected=".npz arrays without pickle", found=str(reason)) from None
    if len(arrays) == 1 and len(signature.inputs) == 1:
        # `numpy.savez(file, rows)` calls its only array arr_0.
        arrays = {signature.inputs[0].name: next(iter(arrays.values()))}
    return Rows(arrays, arrays)
