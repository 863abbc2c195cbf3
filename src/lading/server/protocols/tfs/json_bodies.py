"""JSON as TensorFlow Serving reads and writes it: tensors by row or by column, base64, bare NaN tokens.

Values are checked by the signature, never changed; what it refuses is told in TensorFlow Serving's own
words where that server refuses it too (`tfs_words`). Knows no routes.
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
from lading.server.codecs import nan_json as lenient
from lading.server.protocols import UNREADABLE, unread
from lading.server.protocols.tfs import error_text as tfs_words
from lading.signature import Array, Signature, Tensor

_MOST_WALKED = 20_000
"""How many rows are walked for that server's words and its strictness; of more, ours are told."""
BYTES_SUFFIX = "_bytes"
"""Outputs of strings whose name ends so are written as base64."""


@dataclass(frozen=True, slots=True)
class Predict:
    """The body of a predict request: ``rows`` tells the row format (instances) from the columnar one."""

    rows: bool
    value: Any
    signature_name: str


def loads(body: bytes) -> dict[str, Any]:
    """Read a JSON object; NaN, Infinity and -Infinity may stand in it bare."""
    if not body:
        raise BodyInvalid("JSON Parse error: The document is empty")
    try:
        document = msgspec.json.decode(body)
    except UNREADABLE as error:
        document = _loads_with_nan(body, error)
    if not isinstance(document, dict):
        raise BodyInvalid(f"JSON Value: {tfs_words.show(document)} Is not object")
    return document


def read_predict(body: bytes) -> Predict:
    """Read the body of a predict request as far as it says which format it is in."""
    document = loads(body)
    name = signature_name(document)
    if "instances" in document and "inputs" in document:
        raise BodyInvalid(
            f"JSON Value: {tfs_words.show(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "inputs" in document:
        return Predict(False, document["inputs"], name)
    if "instances" not in document:
        raise BodyInvalid("Missing 'inputs' or 'instances' key")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise BodyInvalid(f"JSON Value: {tfs_words.show(document)} Expecting 'instances' to be an list/array")
    if not instances:
        raise BodyInvalid(f"JSON Value: {tfs_words.show(document)} No values in 'instances' array")
    return Predict(True, instances, name)


def signature_name(document: Mapping[str, Any]) -> str:
    """Return the signature that the body names; empty where it names none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise BodyInvalid(
            f"JSON Value: {tfs_words.show(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def row_inputs(signature: Signature, instances: list[Any]) -> dict[str, Array]:
    """Turn a list of rows into inputs: each row a value of the only input, or an object by input name.

    A row may also be an object by column name, where the signature has columns.
    """
    columns = signature.columns if len(signature.inputs) == 1 else ()
    by_column = bool(columns) and isinstance(instances[0], dict) and instances[0].keys() == set(columns)
    if not by_column:
        tfs_words.check_rows(signature, instances)
    rows: Any = instances
    if any(tensor.dtype == "string" for tensor in signature.inputs):
        rows = decoded(instances)
    if tfs_words.is_object(instances[0]) and not by_column:
        if len(signature.inputs) == 1:
            rows = [row[signature.inputs[0].name] for row in rows]
        elif not all(tensor.batched for tensor in signature.inputs):
            rows = {one.name: [row[one.name] for row in rows] for one in signature.inputs}
    return _cast(signature, rows, "$.instances", strict=not by_column)


def column_inputs(signature: Signature, value: Any) -> dict[str, Array]:
    """Turn whole inputs into arrays: the only input's value, or an object by input name.

    Keys that no input has are ignored, as TensorFlow Serving does.
    """
    named = isinstance(value, dict) and not tfs_words.is_base64(value)
    if not named and len(signature.inputs) > 1:
        raise BodyInvalid(
            "inputs is a plain value/list, but expecting an object as multiple "
            "input tensors required as per tensorinfo_map"
        )
    whole = value if named else {signature.inputs[0].name: value}
    for tensor in signature.inputs:
        if tensor.name not in whole:
            raise BodyInvalid(f"Missing named input: {tensor.name} in 'inputs' object.")
    only = {tensor.name: whole[tensor.name] for tensor in signature.inputs}
    if any(tensor.dtype == "string" for tensor in signature.inputs):
        only = {tensor.name: decoded(only[tensor.name]) for tensor in signature.inputs}
    return _cast(signature, only, "$.inputs", strict=True)


def decoded(value: Any) -> Any:
    """Replace every ``{"b64": "…"}`` in a value by the text it stands for."""
    if isinstance(value, list):
        return [decoded(one) for one in value]
    if isinstance(value, dict):
        if not tfs_words.is_base64(value):
            return {key: decoded(one) for key, one in value.items()}
        return decode_base64(value["b64"])
    return value


def decode_base64(text: str) -> str:
    """Decode base64 of UTF-8 text, padded or not."""
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
    """Write outputs by row: values where there is one output, else objects by output name."""
    rows = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise BodyInvalid(f"Tensor name: {name} has no shape information ")
        if rows not in (-1, len(array)):
            raise BodyInvalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}"
            )
        rows = len(array)
    plain = {name: _plain(name, array) for name, array in outputs.items()}
    if len(plain) == 1:
        return _write({"predictions": next(iter(plain.values()))}, outputs)
    listed = [{name: values[at] for name, values in plain.items()} for at in range(rows)]
    return _write({"predictions": listed}, outputs)


def whole_body(outputs: Mapping[str, Array]) -> bytes:
    """Write predictions that are not one for each row: the value where there is one, else by name."""
    plain = {name: _plain(name, array) for name, array in outputs.items()}
    return _write({"predictions": plain if len(plain) > 1 else next(iter(plain.values()))}, outputs)


def column_body(outputs: Mapping[str, Array]) -> bytes:
    """Write whole outputs: the value where there is one, else an object by output name."""
    plain = {name: _plain(name, array) for name, array in outputs.items()}
    return _write({"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}, outputs)


def results_body(results: list[Any]) -> bytes:
    """Write the results of classify or regress."""
    return json.dumps({"results": results}, ensure_ascii=False, separators=(",", ":")).encode()


def plain_floats(array: Array) -> Any:
    """Turn floats into nested lists of Python floats that print as shortly as the array's own dtype allows.

    ``float32(0.1).tolist()`` is 0.10000000149011612; this is 0.1.
    """
    finite = orjson.loads(orjson.dumps(np.ascontiguousarray(array), None, orjson.OPT_SERIALIZE_NUMPY))
    return _with_nan(finite, array)


def _with_nan(values: Any, array: Array) -> Any:
    if isinstance(values, list):
        return [_with_nan(value, part) for value, part in zip(values, array, strict=True)]
    return float(array) if values is None else values


def _plain(name: str, array: Array) -> Any:
    if array.dtype == object and name.endswith(BYTES_SUFFIX):
        return _encoded(array.tolist())
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return plain_floats(array)
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _encoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_encoded(one) for one in value]
    return {"b64": base64.b64encode(value.encode()).decode()}


def _write(body: dict[str, Any], outputs: Mapping[str, Array]) -> bytes:
    if all(array.dtype.kind != "f" or np.isfinite(array).all() for array in outputs.values()):
        return orjson.dumps(body, _python, orjson.OPT_SERIALIZE_NUMPY)
    # Only Python's encoder writes NaN and Infinity bare.
    return json.dumps(body, default=_python, ensure_ascii=False, separators=(",", ":")).encode()


def _python(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return plain_floats(np.asarray(value)) if value.dtype.kind == "f" else value.tolist()
    raise TypeError(type(value).__name__)


def _cast(signature: Signature, value: Any, path: str, *, strict: bool) -> dict[str, Array]:
    try:
        cast = signature.cast_rows(value, path)
    except InputError as error:
        words = tfs_words.complaint(signature, value) if strict and _walkable(value) else None
        if words is not None:
            raise type(error)(words) from None
        raise
    if strict:
        _check_strictness(signature, value, cast)
    return cast


def _walkable(value: Any) -> bool:
    """Return whether a value is small enough to be walked as that server does: in Python it takes its time."""
    if isinstance(value, dict):
        return all(map(_walkable, value.values()))
    return not isinstance(value, list) or len(value) <= _MOST_WALKED


def _check_strictness(signature: Signature, value: Any, cast: Mapping[str, Array]) -> None:
    """Refuse what the signature takes and that server does not: 1.0 for an integer, 2**24 for a float32."""
    for tensor in signature.inputs:
        if _may_be_lax(tensor, cast[tensor.name]) and _walkable(value):
            words = tfs_words.complaint(signature, value)
            if words is not None:
                raise BodyInvalid(words)
            return


def may_be_lax(tensor: Tensor, inputs: Mapping[str, Array]) -> bool:
    """Return whether a float input holds a number that as an integer that server would refuse."""
    array = inputs[tensor.name]
    return array.dtype.kind == "f" and _may_be_lax(tensor, array)


def _may_be_lax(tensor: Tensor, array: Array) -> bool:
    if array.dtype.kind in "iu":
        return True
    limit = tfs_words.largest_integer(tensor.dtype)
    return limit is not None and bool((np.abs(array) > limit).any())


def _loads_with_nan(body: bytes, error: Exception) -> Any:
    if lenient.may_have_nan(body):
        try:
            return lenient.loads(body)
        except UNREADABLE as second:
            error = second
    text = unread(error)
    raise BodyInvalid(f"JSON Parse error: Invalid value. {text[:1].upper()}{text[1:]}") from None
