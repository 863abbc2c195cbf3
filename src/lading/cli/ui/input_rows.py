"""Rows for `lading predict`, from every kind of file that `lading pack` reads samples from.

Checks their form; the signature checks the values.
"""

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

from lading.cli.ui import printing
from lading.errors import BodyInvalid, UsageError
from lading.signature import Array, Signature
from lading.signature.csvtext import read_csv

FORMATS = (".json", ".csv", ".npz", ".npy", ".parquet")
# How a file begins that is read from stdin: a zip, which an .npz is, an .npy and a .parquet.
_MAGIC = {b"PK": ".npz", b"\x93NUMPY": ".npy", b"PAR1": ".parquet"}


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
        of = signature()
        arrays = read_csv(of, _with_inputs_only(content, of, where), f"`{where}`")
        return Rows(arrays, arrays)
    if form == ".parquet":
        return _parquet(content, where, signature())
    return _numpy(content, where, signature())


def _read_source(source: str) -> tuple[bytes, str]:
    if source == "-":
        # Bytes: the text layer would decode an .npz, and fail at its first byte.
        content = sys.stdin.buffer.read()
        # Without a file name the content decides.
        for magic, form in _MAGIC.items():
            if content.startswith(magic):
                return content, form
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


def _numpy(content: bytes, where: str, signature: Signature) -> Rows:
    try:
        # Never with pickle: rows come from elsewhere, and a pickle runs what it says.
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"arr_0": loaded}
        else:
            with loaded as archive:
                arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as reason:
        # Of other content numpy says that it may be a pickle, and how to load it unsafely.
        known = content.startswith((b"PK", b"\x93NUMPY"))
        expected = ".npz or .npy arrays without pickle"
        actual = str(reason) if known else "another kind of file"
        raise BodyInvalid(f"`{where}`", expected=expected, found=actual) from None
    if len(arrays) == 1 and len(signature.inputs) == 1:
        # `numpy.savez(file, rows)` calls its only array arr_0.
        arrays = {signature.inputs[0].name: next(iter(arrays.values()))}
    return Rows(arrays, arrays)


def _parquet(content: bytes, where: str, signature: Signature) -> Rows:
    # pack's reader: pandas is an extra, and a hint says which.
    from lading.client import plain
    from lading.pack.sources import read_parquet

    frame = read_parquet(io.BytesIO(content), where)
    frame.columns = [str(name) for name in frame.columns]
    kept = _inputs_among(list(frame.columns), signature, where)
    if kept is not None:
        return Rows(plain(frame.iloc[:, kept]))
    # The model does not name its columns: they are taken in their order.
    return Rows(plain([list(row) for row in frame.itertuples(index=False, name=None)]))


def _with_inputs_only(content: bytes, signature: Signature, where: str) -> bytes:
    """Return a CSV without the columns that are no inputs, as `pack` reads one; as it is without a header."""
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return content  # The reader of the signature says what is wrong.
    header = next((line for line in lines if line), [])
    kept = _inputs_among([name.strip() for name in header], signature, where)
    if kept is None or len(kept) == len(header):
        return content
    out = io.StringIO(newline="")
    # A line that is too short stays so, and is refused with its number.
    csv.writer(out).writerows(
        [line[at] for at in kept] if len(line) == len(header) else line for line in lines
    )
    return out.getvalue().encode()


def _inputs_among(names: list[str], signature: Signature, where: str) -> list[int] | None:
    """Return the places of the model's inputs among the columns `names`; None unless each occurs once."""
    inputs = signature.columns or tuple(tensor.name for tensor in signature.inputs)
    if any(names.count(name) != 1 for name in inputs):
        return None
    others = [name for name in names if name not in inputs]
    if others:
        listing = ", ".join(f"`{name}`" for name in others)
        printing.info(f"note: `{where}`: no input of the model, left out: {listing}")
    return [at for at, name in enumerate(names) if name in inputs]
