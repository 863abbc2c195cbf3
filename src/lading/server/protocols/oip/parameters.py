"""The parameters of requests, inputs and outputs: each is honoured, or refused by its name.

Over REST and gRPC alike. A parameter that is ignored would answer a question that nobody asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lading.errors import BodyInvalid
from lading.server.protocols.oip import tensors
from lading.signature import Array, Tensor

NUMPY: dict[str, Any] = {"content_type": "np"}
"""What MLServer's clients state about an array of numbers; nothing follows from it."""

Parameters = Mapping[str, Any]

_SHARED_MEMORY = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size")
# Triton's, for models that keep state or have priorities. With these values they ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "sequence_id": (0, "", "0"),
    "sequence_start": (False,),
    "sequence_end": (False,),
    "priority": (0,),
    "timeout": (0,),
    # Every model answers a request once, so no last response is empty.
    "triton_enable_empty_final_response": (False, True),
}
# Content types of MLServer's codecs that say what a tensor is here anyway: an array, text, columns by name.
_OF_REQUESTS = ("np", "str", "pd")


def check_request(parameters: Parameters, known: Collection[str], path: str = "$.parameters") -> None:
    """Check the parameters of a whole request, of which the caller honours the `known`."""
    for name, value in parameters.items():
        if name in known or value is None:
            continue
        if name == "content_type":
            _check_content_type(value, _OF_REQUESTS, path)
        elif name not in _NEUTRAL or value not in _NEUTRAL[name] or isinstance(value, float):
            raise _unknown(path, (*known, "content_type"), name, value)


def reads_base64(tensor: Tensor, parameters: Parameters, known: Collection[str], path: str) -> bool:
    """Check the parameters of an input; return whether its strings are declared to be base64."""
    if any(name in parameters for name in _SHARED_MEMORY):
        raise BodyInvalid(f"`{path}`", expected="the tensor in the request", found="shared memory")
    for name, value in parameters.items():
        if name not in known and name != "content_type" and value is not None:
            raise _unknown(f"{path}.parameters", (*known, "content_type"), name, value)
    kind = parameters.get("content_type")
    choices = ("str", "base64", "np") if tensor.dtype == "string" else ("np",)
    _check_content_type(kind, choices, f"{path}.parameters")
    return kind == "base64"


def check_output(tensor: Tensor, parameters: Parameters, known: Collection[str], path: str) -> None:
    """Check the parameters of a selected output, of which the caller honours the `known`."""
    if any(name in parameters for name in _SHARED_MEMORY):
        raise BodyInvalid(f"`{path}`", expected="the tensor in the answer", found="shared memory")
    for name, value in parameters.items():
        if name not in known and name != "content_type" and value is not None:
            raise _unknown(path, (*known, "content_type"), name, value)
    is_text = tensor.dtype == "string" or bool(parameters.get("classification"))
    _check_content_type(parameters.get("content_type"), ("np", "str") if is_text else ("np",), path)


def decode_base64(tensor: Tensor, array: Array) -> Array:
    """Return the texts that the strings of `array` stand for; raises `ValueRefused` with the first other."""
    return tensors.string_array(
        [tensors.decode_base64(tensor, text, at) for at, text in enumerate(array.reshape(-1))]
    ).reshape(array.shape)


def _check_content_type(kind: Any, choices: tuple[str, ...], path: str) -> None:
    if kind is not None and kind not in choices:
        expected = " or ".join(f"`{choice}`" for choice in choices)
        raise BodyInvalid(f"`{path}.content_type`", expected=expected, found=f"`{kind}`")


def _unknown(path: str, known: Collection[str], name: str, value: Any) -> BodyInvalid:
    expected = "no parameters but " + ", ".join(f"`{honoured}`" for honoured in known)
    value_text = f"`{name}`" if name not in _NEUTRAL else f"`{name}` = `{value}`"
    return BodyInvalid(f"`{path}`", expected=expected, found=value_text)
