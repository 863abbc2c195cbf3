"""TensorFlow's TensorProto to arrays and back, value for value.

Values come as bytes (``tensor_content``) or in the field of their type, in which the last value is repeated
up to the size of the shape. Answers use the typed field, because clients read ``outputs["y"].float_val``.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from lading.bundle.onnx_wire import encode_varint
from lading.errors import BodyTooLarge, ShapeRefused, ValueRefused
from lading.server.codecs import repeated
from lading.server.grpc import descriptors
from lading.server.protocols.tfs.error_text import type_name
from lading.signature import Array, Tensor

# The field of a TensorProto by dtype; narrow integers are stored in 32 bits.
_FIELDS = {
    "bool": "bool_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "float16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
    "string": "string_val",
}
# Tags of the packed fields (5 and 6, length-delimited) whose bytes are the array's own.
_TAGS = {"float32": b"\x2a", "float64": b"\x32"}

# The fields of a TensorProto that hold no values.
_HEAD = ("dtype", "tensor_shape", "version_number")
_MOST_VALUES = 2**48
# The most values that a short list may be repeated to: a shape of a few bytes could ask for any memory.
_MOST_REPEATED = 2**20


def message(name: str) -> Any:
    """Return a message class of TensorFlow's core protos."""
    return descriptors.message("tfs", f"tensorflow.{name}")


def type_number(dtype: str) -> int:
    """Return TensorFlow's number of a dtype."""
    numbers = message("TensorProto").DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_name
    return int(numbers[f"DT_{type_name(dtype).upper()}"].number)


def to_array(tensor: Tensor, proto: Any) -> Array:
    """Return the array that `proto` holds for an input; the dtype must be the signature's.

    Raises `ValueRefused`, `ShapeRefused`, `BodyTooLarge`. Whether the shape fits the signature is left to
    `Signature.cast`.
    """
    where = f"input `{tensor.name}`"
    if proto.dtype != type_number(tensor.dtype):
        names = proto.DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_number
        name = names[proto.dtype].name if proto.dtype in names else f"type {proto.dtype}"
        raise ValueRefused(where, expected=f"`DT_{type_name(tensor.dtype).upper()}`", found=f"`{name}`")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ShapeRefused(where, expected=f"`{tensor}`", found="a shape that is not known")
    if prod(size or 1 for size in shape) > _MOST_VALUES:  # numpy multiplies the sizes beside a 0 as well.
        raise ShapeRefused(where, expected=f"`{tensor}`", found=f"shape `{list(shape)}`")
    count = prod(shape)
    _check_fields(tensor, proto)
    if proto.tensor_content:
        return _from_content(tensor, proto.tensor_content, shape, count)
    values = getattr(proto, _FIELDS[tensor.dtype])
    if len(values) > count:
        raise ShapeRefused(
            where, expected=f"{count} values for shape `{list(shape)}`", found=f"{len(values)}"
        )
    if count > _MOST_REPEATED and len(values) < count:
        raise BodyTooLarge(where, expected=f"at most {_MOST_REPEATED} values by repetition", found=f"{count}")
    return _from_values(tensor, values, count).reshape(shape)


def to_proto(tensor: Tensor, array: Array, proto: Any) -> None:
    """Write an output into `proto`."""
    proto.dtype = type_number(tensor.dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if tensor.dtype in _TAGS:
        # A packed field of floats is the array's bytes; merging them makes no Python float per value.
        raw = np.ascontiguousarray(array, f"<f{array.itemsize}").tobytes()
        proto.MergeFromString(_TAGS[tensor.dtype] + encode_varint(len(raw)) + raw)
        return
    flat = array.reshape(-1)
    if tensor.dtype == "float16":
        flat = flat.view(np.uint16)  # `half_val` holds the bits.
    repeated.extend(getattr(proto, _FIELDS[tensor.dtype]), flat)


def _check_fields(tensor: Tensor, proto: Any) -> None:
    """Refuse values in a field of another dtype, or in two: TensorFlow reads one and takes 0 for the rest."""
    present = [descriptor.name for descriptor, _ in proto.ListFields() if descriptor.name not in _HEAD]
    if present and present not in (["tensor_content"], [_FIELDS[tensor.dtype]]):
        expected = f"values in `{_FIELDS[tensor.dtype]}` or `tensor_content`"
        fields = ", ".join(f"`{name}`" for name in present)
        raise ValueRefused(f"input `{tensor.name}`", expected=expected, found=fields)


def _from_content(tensor: Tensor, content: bytes, shape: tuple[int, ...], count: int) -> Array:
    where = f"input `{tensor.name}`"
    if tensor.dtype == "string":
        raise ValueRefused(where, expected="strings in `string_val`", found="`tensor_content`")
    dtype = tensor.numpy_dtype.newbyteorder("<")
    if len(content) != count * dtype.itemsize:
        expected = f"{count * dtype.itemsize} bytes for shape `{list(shape)}`"
        raise ShapeRefused(where, expected=expected, found=f"{len(content)}")
    # Any other byte would be a bool that equals neither True nor False.
    if tensor.dtype == "bool" and content.strip(b"\0\1"):
        raise ValueRefused(where, expected="bytes 0 and 1", found="others")
    return np.frombuffer(content, dtype).reshape(shape).astype(tensor.numpy_dtype, copy=False)


def _from_values(tensor: Tensor, values: Any, count: int) -> Array:
    """Return `count` values, the last of which may stand for all that are missing."""
    if tensor.dtype == "string":
        array = np.empty(len(values), object)
        array[:] = [_text(tensor, value) for value in values]
        filler: Any = ""
    elif tensor.dtype == "float16":
        bits = repeated.to_array(values, np.int64)
        if ((bits < 0) | (bits > 0xFFFF)).any():
            raise ValueRefused(f"input `{tensor.name}`", expected="16 bits in `half_val`", found="more")
        array, filler = bits.astype(np.uint16).view(np.float16), 0
    else:
        array, filler = _numbers(tensor, values), 0
    if len(array) == count:
        return array
    last = array[-1] if len(array) else filler
    rest = np.full(count - len(array), last, array.dtype)
    return np.concatenate([array, rest])


def _numbers(tensor: Tensor, values: Any) -> Array:
    if _FIELDS[tensor.dtype] != "int_val":
        return repeated.to_array(values, tensor.numpy_dtype)
    wide = repeated.to_array(values, np.int32)
    narrow = wide.astype(tensor.numpy_dtype)
    changed = narrow != wide
    if changed.any():
        # TensorFlow would wrap it around to another number.
        at = int(changed.argmax())
        raise ValueRefused(f"input `{tensor.name}`", expected=f"`{tensor}`", found=f"{wide[at]} at [{at}]")
    return narrow


def _text(tensor: Tensor, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueRefused(f"input `{tensor.name}`", expected="UTF-8 text", found="other bytes") from None
