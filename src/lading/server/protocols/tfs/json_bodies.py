"""JSON as TensorFlow Serving reads and writes it: tensors by row or by column, base64, bare NaN tokens.

Values are checked by the signature, never changed. A value that TensorFlow Serving refuses too is refused in
its own words (`error_text`). Knows no routes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import orjson

from lading.errors import BodyInvalid, InputError
from lading.server.codecs import nan_json
from lading.server.protocols import DECODE_ERRORS, decode_error_text
from lading.server.protocols.tfs import error_text
from lading.signature import Array, Signature, Tensor

# The most rows that are walked for that server's words and its strictness; more rows get our own words.
_MOST_WALKED = 20_000
# Up to so many rows, objects are written as quickly as texts are joined.
_FEW_ROWS = 3
BYTES_SUFFIX = "_bytes"
"""The end of the name of a string output that is written as base64."""


@dataclass(frozen=True, slots=True)
class PredictBody:
    """The body of a predict request, ``by_row`` (instances) or columnar (inputs)."""

    by_row: bool
    value: Any
    signature_name: str


def loads(body: bytes) -> dict[str, Any]:
    """Read a JSON object that may hold NaN, Infinity and -Infinity as bare words."""
    if not body:
        raise BodyInvalid("JSON Parse error: The document is empty")
    try:
        document = msgspec.json.decode(body)
    except DECODE_ERRORS as error:
        document = _loads_with_nan(body, error)
    if not isinstance(document, dict):
        raise BodyInvalid(f"JSON Value: {error_text.show(document)} Is not object")
    return document


def read_predict(body: bytes) -> PredictBody:
    """Read the body of a predict request and determine its format; the values stay JSON."""
    document = loads(body)
    name = signature_name(document)
    check_keys(document, "signature_name", "instances", "inputs")
    if "instances" in document and "inputs" in document:
        raise BodyInvalid(
            f"JSON Value: {error_text.show(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "inputs" in document:
        return PredictBody(False, document["inputs"], name)
    if "instances" not in document:
        raise BodyInvalid("Missing 'inputs' or 'instances' key")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise BodyInvalid(
            f"JSON Value: {error_text.show(document)} Expecting 'instances' to be an list/array"
        )
    if not instances:
        raise BodyInvalid(f"JSON Value: {error_text.show(document)} No values in 'instances' array")
    return PredictBody(True, instances, name)


def check_keys(document: Mapping[str, Any], *known: str) -> None:
    """Refuse keys beside the `known`: TensorFlow Serving ignores them, and with them what they ask for."""
    for key in document:
        if key not in known:
            expected = "no keys but " + ", ".join(f"`{name}`" for name in known)
            raise BodyInvalid("body", expected=expected, found=f"`{key}`")


def signature_name(document: Mapping[str, Any]) -> str:
    """Return the name of the signature in the body; empty if it has none."""
    # Every bundle has one signature; `check_signature` refuses other names.
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise BodyInvalid(
            f"JSON Value: {error_text.show(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def row_inputs(signature: Signature, instances: list[Any]) -> dict[str, Array]:
    """Turn a list of rows into inputs: each row a value of the only input, or an object by input name.

    A row may also be an object by column name, where the signature has columns.
    """
    columns = signature.columns if len(signature.inputs) == 1 else ()
    # Not TensorFlow Serving's: a row by column names, so `strict` does not apply to it.
    by_column = bool(columns) and isinstance(instances[0], dict) and instances[0].keys() == set(columns)
    if not by_column:
        error_text.check_rows(signature, instances)
    rows: Any = instances
    if any(tensor.dtype == "string" for tensor in signature.inputs):
        rows = decode_strings(instances)
    if error_text.is_object(instances[0]) and not by_column:
        if len(signature.inputs) == 1:
            rows = [row[signature.inputs[0].name] for row in rows]
        elif not all(tensor.batched for tensor in signature.inputs):
            rows = {tensor.name: [row[tensor.name] for row in rows] for tensor in signature.inputs}
    return _cast(signature, rows, "$.instances", strict=not by_column)


def column_inputs(signature: Signature, value: Any) -> dict[str, Array]:
    """Turn whole inputs into arrays: the only input's value, or an object by input name."""
    named = isinstance(value, dict) and not error_text.is_base64(value)
    if not named and len(signature.inputs) > 1:
        raise BodyInvalid(
            "inputs is a plain value/list, but expecting an object as multiple "
            "input tensors required as per tensorinfo_map"
        )
    whole = value if named else {signature.inputs[0].name: value}
    for tensor in signature.inputs:
        if tensor.name not in whole:
            raise BodyInvalid(f"Missing named input: {tensor.name} in 'inputs' object.")
    # Keys that no input has are ignored, as TensorFlow Serving ignores them.
    values = {tensor.name: whole[tensor.name] for tensor in signature.inputs}
    if any(tensor.dtype == "string" for tensor in signature.inputs):
        values = {name: decode_strings(value) for name, value in values.items()}
    return _cast(signature, values, "$.inputs", strict=True)


def decode_strings(value: Any) -> Any:
    """Replace every ``{"b64": "…"}`` in a JSON value by the text it stands for."""
    if isinstance(value, list):
        return [decode_strings(item) for item in value]
    if isinstance(value, dict):
        if not error_text.is_base64(value):
            return {key: decode_strings(item) for key, item in value.items()}
        return decode_base64(value["b64"])
    return value


def decode_base64(text: str) -> str:
    """Decode base64 of UTF-8 text, padded or not."""
    # That server's decoder ignores white space and does not need padding; Python's does.
    stripped = "".join(text.split()).rstrip("=")
    try:
        raw = base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BodyInvalid("Unable to base64 decode") from None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BodyInvalid("base64 value", expected="UTF-8 text", found="other bytes") from None


def row_body(outputs: Mapping[str, Array]) -> bytes:
    """Write outputs by row: the values of the only output, else objects by output name."""
    rows = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise BodyInvalid(f"Tensor name: {name} has no shape information ")
        if rows not in (-1, len(array)):
            raise BodyInvalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}"
            )
        rows = len(array)
    quick = rows > _FEW_ROWS and len(outputs) > 1
    if quick and all(_is_quick(name, array) for name, array in outputs.items()):
        return _joined(outputs)
    plain = {name: _plain(name, array) for name, array in outputs.items()}
    if len(plain) == 1:
        return _write({"predictions": next(iter(plain.values()))}, outputs)
    objects = [{name: values[row] for name, values in plain.items()} for row in range(rows)]
    return _write({"predictions": objects}, outputs)


def _is_quick(name: str, array: Array) -> bool:
    """Return whether `_row_texts` takes an output."""
    if array.dtype == object:
        return array.ndim == 1 and not name.endswith(BYTES_SUFFIX)
    return array.ndim in (1, 2) and (array.dtype.kind != "f" or bool(np.isfinite(array).all()))


def _joined(outputs: Mapping[str, Array]) -> bytes:
    """Write objects by output name as orjson does, but without making them: more than twice as quickly."""
    forms = (
        b"%b:%b" % (orjson.dumps(name).replace(b"%", b"%%"), b"[%b]" if array.ndim == 2 else b"%b")
        for name, array in outputs.items()
    )
    form = b"{%b}" % b",".join(forms)
    texts = zip(*map(_row_texts, outputs.values()), strict=True)
    return b'{"predictions":[%b]}' % b",".join(map(form.__mod__, texts))


def _row_texts(array: Array) -> list[bytes]:
    """Return the JSON of each row, without the brackets around several values."""
    if not len(array):
        return []
    if array.dtype == object:
        values = array.tolist()
        known = {value: orjson.dumps(value) for value in set(values)}
        return [known[value] for value in values]
    text = orjson.dumps(np.ascontiguousarray(array), _to_python, orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].split(b",") if array.ndim == 1 else text[2:-2].split(b"],[")


def whole_body(outputs: Mapping[str, Array]) -> bytes:
    """Write predictions that are not one per row: the value of the only output, else an object by name."""
    return _whole("predictions", outputs)


def column_body(outputs: Mapping[str, Array]) -> bytes:
    """Write whole outputs: the value of the only output, else an object by name."""
    return _whole("outputs", outputs)


def dumps(value: Any) -> bytes:
    """Write plain values; NaN and infinities as bare words."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def plain_value(value: Any) -> Any:
    """Return an array, or one value of it, as plain Python."""
    array = np.asarray(value)
    return plain_floats(array) if array.dtype.kind == "f" else array.tolist()


def _whole(key: str, outputs: Mapping[str, Array]) -> bytes:
    plain = {name: _plain(name, array) for name, array in outputs.items()}
    return _write({key: plain if len(plain) > 1 else next(iter(plain.values()))}, outputs)


def results_body(results: list[Any]) -> bytes:
    """Write the results of classify or regress."""
    return dumps({"results": results})


def plain_floats(array: Array) -> Any:
    """Turn floats into nested lists of Python floats that print as briefly as the array's dtype allows."""
    # `float32(0.1).tolist()` is 0.10000000149011612; through orjson's text it is 0.1.
    finite = orjson.loads(orjson.dumps(np.ascontiguousarray(array), None, orjson.OPT_SERIALIZE_NUMPY))
    return _with_nan(finite, array)


def _with_nan(values: Any, array: Array) -> Any:
    """Put NaN and infinities back, which orjson has written as null."""
    if isinstance(values, list):
        return [_with_nan(value, part) for value, part in zip(values, array, strict=True)]
    return float(array) if values is None else values


def _plain(name: str, array: Array) -> Any:
    """Return an output as `_write` takes it: an array that orjson writes itself, or plain values."""
    if array.dtype == object and name.endswith(BYTES_SUFFIX):
        return _to_base64(array.tolist())
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return plain_floats(array)
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _to_base64(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_base64(item) for item in value]
    return {"b64": base64.b64encode(value.encode()).decode()}


def _write(body: dict[str, Any], outputs: Mapping[str, Array]) -> bytes:
    if all(array.dtype.kind != "f" or np.isfinite(array).all() for array in outputs.values()):
        return orjson.dumps(body, _to_python, orjson.OPT_SERIALIZE_NUMPY)
    # Only Python's own encoder writes NaN and Infinity as bare words.
    return json.dumps(body, default=_to_python, ensure_ascii=False, separators=(",", ":")).encode()


def _to_python(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return plain_floats(np.asarray(value)) if value.dtype.kind == "f" else value.tolist()
    raise TypeError(type(value).__name__)


def _cast(signature: Signature, value: Any, path: str, *, strict: bool) -> dict[str, Array]:
    try:
        cast = signature.cast_rows(value, path)
    except InputError as error:
        text = error_text.explain(signature, value) if strict and _is_walkable(value) else None
        if text is not None:
            raise type(error)(text) from None
        raise
    if strict:
        _check_strictness(signature, value, cast)
    return cast


def _is_walkable(value: Any) -> bool:
    """Return whether a value is small enough to be walked as that server does, which is slow in Python."""
    if isinstance(value, dict):
        return all(map(_is_walkable, value.values()))
    return not isinstance(value, list) or len(value) <= _MOST_WALKED


def _check_strictness(signature: Signature, value: Any, cast: Mapping[str, Array]) -> None:
    """Refuse what the signature accepts and that server does not: 1.0 for an integer, 2**24 for a float32."""
    for tensor in signature.inputs:
        if _may_be_lax(tensor, cast[tensor.name]) and _is_walkable(value):
            text = error_text.explain(signature, value)
            if text is not None:
                raise BodyInvalid(text)
            return


def may_be_lax(tensor: Tensor, inputs: Mapping[str, Array]) -> bool:
    """Return whether a float input holds a number that that server refuses if it is written as an integer."""
    # The array does not show how a number was written, so only the text can decide.
    array = inputs[tensor.name]
    return array.dtype.kind == "f" and _may_be_lax(tensor, array)


def _may_be_lax(tensor: Tensor, array: Array) -> bool:
    if array.dtype.kind in "iu":
        return True
    # Floats below the limit are accepted however they are written.
    limit = error_text.largest_integer(tensor.dtype)
    return limit is not None and bool((np.abs(array) > limit).any())


def _loads_with_nan(body: bytes, error: Exception) -> Any:
    if nan_json.may_have_nan(body):
        try:
            return nan_json.loads(body)
        except DECODE_ERRORS as second:
            error = second
    text = decode_error_text(error)
    raise BodyInvalid(f"JSON Parse error: Invalid value. {text[:1].upper()}{text[1:]}") from None
