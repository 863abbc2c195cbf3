"""Run in the environment of KServe's client: every datatype, binary data, and answers that are not a number.

Not a pytest file. `kserve_client.py rest|grpc ADDRESS`; says so when all of it works.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

VALUES = {
    "BOOL": np.array([[True, False, True]]),
    **{
        f"{kind.upper()}{bits}": np.array([[np.iinfo(dtype).min, 1, np.iinfo(dtype).max]], dtype)
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
        for dtype in (f"{kind}{bits}",)
    },
    "FP16": np.array([[0.5, -1.25, 2.0]], "float16"),
    "FP32": np.array([[0.5, -1.25, 1 / 3]], "float32"),
    "FP64": np.array([[0.5, -1.25, 1 / 3]], "float64"),
    "BYTES": np.array([["", "한글 ✓", 'a "quote"']], np.object_),
}
MODELS = {"BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64", "BYTES": "string"}


class Client:
    """One of KServe's two clients."""

    def __init__(self, part: str, address: str) -> None:
        self.is_rest = part == "rest"
        self._address = address
        self._rest = InferenceRESTClient(RESTConfig(protocol="v2", timeout=20)) if self.is_rest else None
        self._grpc = None if self.is_rest else InferenceGRPCClient(address, timeout=20)

    async def infer(self, model: str, array: np.ndarray, datatype: str, *, binary: bool) -> Any:
        sent = InferInput("x", list(array.shape), datatype)
        sent.set_data_from_numpy(array, binary_data=binary)
        wanted = [RequestedOutput("y", parameters={"binary_data": binary})] if self.is_rest else None
        request = InferRequest(model, [sent], request_id="7", request_outputs=wanted)
        if self._rest is not None:
            answer = await self._rest.infer(self._address, request, model_name=model)
        else:
            answer = await self._grpc.infer(request)
        assert (answer.id, answer.model_name) == ("7", model)
        return answer.outputs[0].as_numpy()

    async def is_ready(self, model: str) -> bool:
        if self._rest is not None:
            assert await self._rest.is_server_ready(self._address)
            return bool(await self._rest.is_model_ready(self._address, model))
        assert await self._grpc.is_server_ready()
        return bool(await self._grpc.is_model_ready(model))


async def main(part: str, address: str) -> None:
    client = Client(part, address)
    assert await client.is_ready("log")
    ways = (True, False) if client.is_rest else (True,)
    for datatype, array in VALUES.items():
        for binary in ways:
            if datatype == "FP16" and not binary:
                continue  # The client itself refuses: JSON has no form for it.
            model = f"echo-{MODELS.get(datatype, datatype.lower())}"
            answered = await client.infer(model, array, datatype, binary=binary)
            if datatype == "BYTES":
                plain = [item.decode() if isinstance(item, bytes) else item for item in answered.ravel()]
                answered = np.array(plain, np.object_).reshape(array.shape)
            np.testing.assert_array_equal(answered, array)
    # The logarithm of -1 is not a number, that of 0 infinite.
    values = np.array([[1.0, -1.0, 0.0]], "float32")
    for binary in ways:
        answered = np.asarray(await client.infer("log", values, "FP32", binary=binary), "float64")
        infinite = -np.inf if binary else np.nan  # JSON has one `null` for all that are no numbers
        np.testing.assert_array_equal(answered, [[0.0, np.nan, infinite]])


asyncio.run(main(*sys.argv[1:]))
print("all of it works")
