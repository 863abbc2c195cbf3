"""Requests of the Open Inference Protocol over REST, in the forms that clients send."""

from __future__ import annotations

import json
from typing import Any

from lading.server.protocols.oip.tensors import DATATYPES
from support.hosted_app import AppClient

LENGTH = "inference-header-content-length"
"""The header with the length of the JSON before the bytes of tensors."""

FLOAT_ROW = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
"""A good input of the model `echo-float32`."""


def tensor_json(array: Any, dtype: str, name: str = "x", **fields: Any) -> dict[str, Any]:
    """Return an input with the shape of `array`; its values come in `fields` or as bytes."""
    return {"name": name, "shape": list(array.shape), "datatype": DATATYPES[dtype], **fields}


def infer(client: AppClient, model: str, *inputs: dict[str, Any], **fields: Any) -> Any:
    """Send a JSON body; return the response."""
    return client.post(f"/v2/models/{model}/infer", {"inputs": list(inputs), **fields})


def infer_binary(client: AppClient, model: str, head: dict[str, Any], *parts: bytes) -> Any:
    """Send the JSON `head` with bytes of tensors behind it; return the response."""
    text = json.dumps(head).encode()
    return client.post(
        f"/v2/models/{model}/infer", content=b"".join((text, *parts)), headers={LENGTH: str(len(text))}
    )


def split_binary(response: Any) -> tuple[dict[str, Any], bytes]:
    """Return the JSON of a binary response, and the bytes behind it."""
    size = int(response.headers[LENGTH])
    return json.loads(response.content[:size]), response.content[size:]
