"""TensorFlow Serving's classify and regress: examples of named features in, classes or values out.

A feature is an input, or a column of the only input. REST and gRPC share the module. TensorFlow parses
examples inside the graph; here the signature states what they must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import msgspec

from lading.errors import (
    BodyInvalid,
    EmptyInput,
    InputMissing,
    InputUnknown,
    InvalidReference,
    ShapeRefused,
)
from lading.server.inference.version import ServedVersion
from lading.server.protocols.tfs import json_bodies
from lading.server.protocols.tfs.error_text import is_base64, kind_of, show
from lading.signature import BATCH, Array, Signature, Tensor, cast_json

DEFAULT_SIGNATURE = "serving_default"

Features = Mapping[str, Sequence[Any]]
"""The features of one example: each a list of numbers, booleans or strings."""


def read_examples(body: bytes, method: str) -> list[dict[str, list[Any]]]:
    """Read the JSON body of a classify or regress request; every example has the features of its context."""
    document = json_bodies.loads(body)
    check_signature(json_bodies.signature_name(document))
    json_bodies.check_keys(document, "signature_name", "context", "examples")
    context = _features(document["context"]) if "context" in document else {}
    if "examples" not in document:
        raise BodyInvalid(
            f"JSON Value: {show(document)} When method is {method}, "
            "key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise BodyInvalid(f"JSON Value: {show(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise BodyInvalid(f"JSON Value: {show(document)} 'examples' value is an empty array")
    return [{**context, **_features(example)} for example in examples]


def check_signature(name: str) -> None:
    """Raise `InvalidReference` unless `name` is the signature that every bundle has, or empty."""
    if name not in ("", DEFAULT_SIGNATURE):
        raise InvalidReference(f'Serving signature name: "{name}" not found in signature def')


def inputs_of(signature: Signature, examples: Sequence[Features]) -> dict[str, Array]:
    """Turn examples into inputs, one row each.

    Raises `InputMissing`, `InputUnknown`, `BodyInvalid`, and `EmptyInput` without an example.
    """
    if not examples:
        raise EmptyInput("Input is empty.")
    columns = signature.columns
    # The first example decides whether features are inputs or columns; all must agree.
    by_column = len(signature.inputs) == 1 and bool(columns) and signature.inputs[0].name not in examples[0]
    names = columns if by_column else tuple(tensor.name for tensor in signature.inputs)
    _check_names(examples, names)
    if by_column:
        rows = [[_single(example, name, at) for name in columns] for at, example in enumerate(examples)]
        only = signature.inputs[0]
        return {only.name: cast_json(only, rows, "$.examples", columns=columns)}
    cast = {
        tensor.name: _stack(tensor, [example[tensor.name] for example in examples])
        for tensor in signature.inputs
    }
    signature.check_sizes(cast)
    return cast


def classes_output(served: ServedVersion) -> Tensor:
    """Return the output with the scores of the classes, else the one with the class."""
    primary = served.signature.primary
    if primary.columns and len(primary.shape) == 2:
        return primary
    for tensor in served.signature.outputs:
        if tensor.name == "label" and tensor.scalar_rows:
            return tensor
    raise _other_method("classification", "classify")


def classes(served: ServedVersion, outputs: Mapping[str, Array]) -> list[list[tuple[str, float]]]:
    """Return the classes of each row with their scores, in the order of the model's columns."""
    tensor = classes_output(served)
    array = outputs[tensor.name]
    if not tensor.columns:
        # Of a model without scores TensorFlow Serving answers the class with the score 0.
        return [[(_label(served, value), 0.0)] for value in array.reshape(-1).tolist()]
    names = [_label(served, column) for column in tensor.columns]
    return [list(zip(names, row, strict=True)) for row in json_bodies.plain_floats(array)]


def value_output(served: ServedVersion) -> Tensor:
    """Return the output with one float per row; raises `InvalidReference` if the model is no regressor."""
    primary = served.signature.primary
    if primary.columns or not primary.dtype.startswith("float") or not primary.scalar_rows:
        raise _other_method("regression", "regress")
    return primary


def values(served: ServedVersion, outputs: Mapping[str, Array]) -> list[float]:
    """Return the value of each row."""
    floats: list[float] = json_bodies.plain_floats(outputs[value_output(served).name].reshape(-1))
    return floats


def _label(served: ServedVersion, value: Any) -> str:
    return served.labels.get(str(value), str(value))


def _other_method(kind: str, method: str) -> InvalidReference:
    # That server compares the request's method with the one that was exported with the model.
    prefix = "tensorflow/serving"
    return InvalidReference(
        f"Expected {kind} signature method_name to be {prefix}/{method}. Was: {prefix}/predict"
    )


def _features(example: Any) -> dict[str, list[Any]]:
    if not isinstance(example, dict):
        raise BodyInvalid(f"Example must be JSON object but got JSON {kind_of(example)}")
    return {
        name: [_element(name, value) for value in (content if isinstance(content, list) else [content])]
        for name, content in example.items()
    }


def _element(name: str, value: Any) -> Any:
    if is_base64(value):
        return json_bodies.decode_base64(value["b64"])
    if value is None or isinstance(value, list | dict):
        raise BodyInvalid(f"Feature: {name} has element with unexpected JSON type: {kind_of(value)}")
    return value


def _check_names(examples: Sequence[Features], names: Sequence[str]) -> None:
    for at, example in enumerate(examples):
        for name in names:
            if name not in example:
                features = ", ".join(f"`{feature}`" for feature in example) or "none"
                raise InputMissing(f"example {at}", expected=f"feature `{name}`", found=features)
        for name in example:
            if name not in names:
                expected = "the features " + ", ".join(f"`{feature}`" for feature in names)
                raise InputUnknown(f"example {at}", expected=expected, found=f"`{name}`")


def _single(example: Features, name: str, at: int) -> Any:
    values = example[name]
    if len(values) != 1:
        raise BodyInvalid(f"example {at}, feature `{name}`", expected="one value", found=f"{len(values)}")
    return values[0]


def _stack(tensor: Tensor, rows: list[Any]) -> Array:
    """Cast the flat values of each example to the rows of an input."""
    if not tensor.batched:
        raise BodyInvalid(
            f"input `{tensor.name}`", expected="a batch dimension to take examples", found="none"
        )
    row_shape = tensor.shape[1:]
    fixed = prod(size for size in row_shape if isinstance(size, int))
    dynamic = sum(isinstance(size, str) for size in row_shape)
    flat = msgspec.structs.replace(tensor, shape=(BATCH, "values" if dynamic else fixed))
    array = cast_json(flat, [list(row) for row in rows], "$.examples")  # [batch, values]
    count = array.shape[1]
    # Flat values determine at most one dynamic dimension.
    if dynamic > 1 or count % fixed:
        raise ShapeRefused(
            f"input `{tensor.name}`", expected=f"`{tensor}`", found=f"{count} values an example"
        )
    sizes = (size if isinstance(size, int) else count // fixed for size in row_shape)
    return array.reshape(len(rows), *sizes)
