"""Trying a version: a golden row with changed values as a request, and what the golden row was answered.

Composes requests and sends none. What is too large for the fields of a page is left to a command with a file.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from lading.bundle import Manifest, Samples
from lading.bundle.requests import request_signature
from lading.errors import LadingError, UsageError
from lading.hub.knowledge import Serving
from lading.monitor.report.markup import shortened
from lading.signature import Array, Signature, Tensor

MOST_FIELDS = 64
LONGEST_TEXT = 2000
"""A row of more values, or with a longer text or longer names, is no form: a file is easier to change."""

_MOST_VALUES = 12
_MOST_SERVERS = 5
_LONGEST_SHOWN = 200
_NO_SERVER = "http://127.0.0.1:8000"
_DATATYPES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64", "string": "BYTES"}

Obstacle = Literal["", "large", "whole", "unread"]


class TryField(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the row: ``name`` is its parameter in the address, ``golden`` what the golden row has."""

    name: str
    label: str
    dtype: str
    value: str
    golden: str


class Server(msgspec.Struct, frozen=True):
    """A replica that answers with this version, and where its documentation is."""

    replica: str
    address: str
    docs: str


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The form and the requests that it composes. ``obstacle`` is why there is no form, empty with one.

    ``error`` is what is wrong with a value; then nothing is composed. ``answer`` has the recorded outputs of
    the golden row, empty once a value is changed, because nobody has asked for that.
    """

    obstacle: Obstacle
    unread: str = ""
    rows: int = 0
    row: int = 0
    fields: list[TryField] = []
    is_changed: bool = False
    error: str = ""
    answer: dict[str, str] = {}
    native: str = ""
    open_inference: str = ""
    predict: str = ""
    has_server: bool = False
    servers: list[Server] = []


class TryState(msgspec.Struct, frozen=True):
    """Which golden row, and the changed values by the index of their field."""

    row: int = 0
    values: Mapping[int, str] = {}

    @classmethod
    def of(cls, query: Mapping[str, str]) -> TryState:
        """Return the state in the parameters of an address. Raises `UsageError` for what is no row."""
        text = query.get("row", "0")
        # `isdigit` alone takes digits of every script, and a long number takes a while to read.
        if not (text.isascii() and text.isdigit() and len(text) < 5):
            raise UsageError("`row`", expected="the number of a golden row", found=f"`{text[:80]}`")
        # One character more than the most, so that `_value` refuses what is too long and does not cut it.
        values = {at: query[f"x{at}"][: LONGEST_TEXT + 1] for at in range(MOST_FIELDS) if f"x{at}" in query}
        return cls(int(text), values)


def trial(
    manifest: Manifest,
    samples: Samples | None,
    state: TryState,
    ref: str,
    serving: Sequence[Serving],
    unread: str = "",
) -> Trial:
    """Return the form of a version; `samples` is None if they cannot be read, and `unread` says why.

    Raises `UsageError` for a row that it does not have.
    """
    servers = _servers(serving)
    file = _predict(manifest, ref, "--input rows.npz")
    if samples is None:
        return Trial(obstacle="unread", unread=unread, predict=file, servers=servers)
    signature = manifest.signature
    obstacle = _obstacle(signature, samples)
    if obstacle:
        return Trial(obstacle=obstacle, rows=samples.rows, predict=file, servers=servers)
    if state.row >= samples.rows:
        expected = f"a golden row from 0 to {samples.rows - 1}"
        raise UsageError("`row`", expected=expected, found=f"`{state.row}`")
    fields = _fields(signature, samples, state)
    is_changed = any(field.value != field.golden for field in fields)
    made = Trial(
        obstacle="",
        rows=samples.rows,
        row=state.row,
        fields=fields,
        is_changed=is_changed,
        answer={} if is_changed else outputs_text(signature.outputs, samples.outputs, state.row),
        has_server=bool(servers),
        servers=servers,
    )
    try:
        return _composed(made, manifest, request_signature(manifest, samples), ref)
    except LadingError as error:
        return msgspec.structs.replace(made, error=error.message)


def _obstacle(signature: Signature, samples: Samples) -> Obstacle:
    if not signature.independent_rows or not all(tensor.batched for tensor in signature.inputs):
        return "whole"
    total = 0  # Values of a row over all inputs: each would be a field of the form.
    for tensor in signature.inputs:
        array = samples.inputs[tensor.name]
        if len(tensor.shape) > 2 or not all(isinstance(size, int) for size in tensor.shape[1:]):
            return "large"
        total += math.prod(array.shape[1:])
        # Each name is in every request that the page composes.
        if len(tensor.name) + sum(map(len, tensor.columns or ())) > LONGEST_TEXT:
            return "large"
        if tensor.dtype == "string" and any(len(text) > LONGEST_TEXT for text in array.flat):
            return "large"
    return "large" if total > MOST_FIELDS else ""


def _fields(signature: Signature, samples: Samples, state: TryState) -> list[TryField]:
    fields: list[TryField] = []
    for tensor in signature.inputs:
        values = samples.inputs[tensor.name][state.row].reshape(-1) if tensor.shape[1:] else None
        row = values if values is not None else [samples.inputs[tensor.name][state.row]]
        for at, value in enumerate(row):
            golden, number = _text(value), len(fields)
            fields.append(
                TryField(
                    name=f"x{number}",
                    label=_label(tensor, at),
                    dtype=tensor.dtype,
                    value=state.values.get(number, golden),
                    golden=golden,
                )
            )
    return fields


def _label(tensor: Tensor, at: int) -> str:
    if tensor.columns:
        return tensor.columns[at]
    return tensor.name if tensor.scalar_rows else f"{tensor.name}[{at}]"


def _text(value: Any) -> str:
    """Return a value as a form has it: numbers with the fewest digits that give them back."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else str(value)
    return str(bool(value)).lower() if isinstance(value, bool | np.bool_) else str(value)


def _composed(made: Trial, manifest: Manifest, signature: Signature, ref: str) -> Trial:
    values = iter([_value(field) for field in made.fields])
    rows: dict[str, Any] = {}
    for tensor in signature.inputs:
        count = math.prod(int(size) for size in tensor.shape[1:])
        row = [next(values) for _ in range(count)]
        rows[tensor.name] = row[0] if tensor.scalar_rows else row
    body = _row_of(signature, rows)
    # As a server would: whatever it refuses is refused here, with the same sentence.
    arrays = signature.cast_rows([body])
    name, _, version = ref.partition(":")
    address = made.servers[0].address if made.servers else _NO_SERVER
    return msgspec.structs.replace(
        made,
        native=_curl(f"{address}/models/{name}/versions/{version}/predict", _json({"data": [body]})),
        open_inference=_curl(
            f"{address}/v2/models/{name}/versions/{version}/infer",
            _json({"inputs": [_open_inference(tensor, arrays[tensor.name]) for tensor in signature.inputs]}),
        ),
        predict=f"echo {shlex.quote(_json([body]))} | {_predict(manifest, ref, '--input -')}",
    )


def _row_of(signature: Signature, rows: Mapping[str, Any]) -> Any:
    # Several inputs are an object by name; one alone is its value, as the REST interface takes it.
    if len(signature.inputs) > 1:
        return dict(rows)
    (only,) = signature.inputs
    value = rows[only.name]
    if not only.columns:
        # A row of `[batch, 1]` is a list of one, a row of `[batch]` is the value itself.
        return [value] if only.scalar_rows and len(only.shape) == 2 else value
    return dict(zip(only.columns, value if isinstance(value, list) else [value], strict=True))


def _value(field: TryField) -> Any:
    """Return what a person has written as the value of a dtype. Raises `UsageError`."""
    text, where = field.value.strip(), f"`{shortened(field.label, 80)}`"
    if len(field.value) > LONGEST_TEXT:
        raise UsageError(where, expected=f"at most {LONGEST_TEXT:,} characters", found="more")
    if field.dtype == "string":
        return field.value
    if field.dtype == "bool":
        known = {"true": True, "false": False}.get(text.lower())
        if known is None:
            raise UsageError(where, expected="`true` or `false`", found=f"`{shortened(text, 80)}`")
        return known
    # An empty field is a missing value, which JSON says as null; whole numbers have none.
    if not text and field.dtype.startswith("float"):
        return None
    try:
        number: float = float(text) if field.dtype.startswith("float") else int(text)
    except ValueError:
        number = math.nan
    # JSON has no infinity, so no request could say it.
    if isinstance(number, float) and not math.isfinite(number):
        expected = "a number" if field.dtype.startswith("float") else "a whole number"
        raise UsageError(where, expected=expected, found=f"`{shortened(text, 80)}`")
    return number


def _open_inference(tensor: Tensor, array: Array) -> dict[str, Any]:
    data = [None if value is None else _plain(value) for value in array.reshape(-1)]
    # The Open Inference Protocol names integers as numpy does, in capitals; others are in the table.
    datatype = _DATATYPES.get(tensor.dtype, tensor.dtype.upper())
    return {"name": tensor.name, "shape": list(array.shape), "datatype": datatype, "data": data}


def _plain(value: Any) -> Any:
    # A float32 in the digits that it has, and not in those that float64 adds.
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # In a command to copy, what cannot be seen is an escape sequence of JSON.
    return text if text.isprintable() else json.dumps(value)


def _curl(url: str, body: str) -> str:
    # Quoted for a POSIX shell: a value may have quotes, and comes from the golden rows of a bundle.
    return f"curl -H 'content-type: application/json' -d {shlex.quote(body)} {shlex.quote(url)}"


def _predict(manifest: Manifest, ref: str, options: str) -> str:
    allow = f" --allow {manifest.executes_text}" if manifest.executes else ""
    return f"lading predict {ref} {options}{allow}"


def _servers(serving: Sequence[Serving]) -> list[Server]:
    """Return replicas that answer now, with addresses that a link can have: they say them themselves."""
    # What runs elsewhere as "foreign" has other routes than the commands here.
    servers = []
    for place in serving:
        address = place.replica.address.rstrip("/")
        is_link = address.startswith(("http://", "https://")) and address.isprintable()
        if place.model.state == "ready" and place.replica.pattern != "foreign" and is_link:
            servers.append(Server(place.replica.id, address, f"{address}/docs"))
    return servers[:_MOST_SERVERS]


def outputs_text(tensors: Sequence[Tensor], arrays: Mapping[str, Array], row: int) -> dict[str, str]:
    """Return inputs or outputs of one golden row as text, by tensor, long ones cut."""
    texts = {}
    for tensor in tensors:
        array = arrays[tensor.name]
        values = (array[row] if tensor.batched else array).reshape(-1) if array.ndim > 1 else None
        row_values = values if values is not None else [array[row] if array.ndim else array[()]]
        names = tensor.columns if len(tensor.columns) == len(row_values) else ()
        cells = []
        for at, value in enumerate(row_values[:_MOST_VALUES]):
            text = shortened(_text(value), _LONGEST_SHOWN) or "–"
            cells.append(f"{names[at]} {text}" if names else text)
        more = len(row_values) - len(cells)
        texts[tensor.name] = ", ".join(cells) + (f", … ({more:,})" if more else "")
    return texts
