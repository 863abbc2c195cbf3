"""Run in the environment of tritonclient: every datatype and every way to send it. Not a pytest file.

`triton_client.py http|http_aio|grpc|grpc_aio HTTP_ADDRESS GRPC_ADDRESS`; says so when all of it works.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import sys
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

VALUES = {
    "bool": np.array([[True, False, True]]),
    **{
        name: np.array([[np.iinfo(name).min, 1, np.iinfo(name).max]], name)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    **{name: np.array([[0.5, -1.25, 1 / 3]], name) for name in ("float16", "float32", "float64")},
    "string": np.array([["", "한글 ✓", 'a "quote"']], np.object_),
}


async def value(outcome: Any) -> Any:
    """Wait where the client is an asyncio one."""
    return await outcome if inspect.isawaitable(outcome) else outcome


def text(array: np.ndarray) -> np.ndarray:
    """Decode the bytes that the client gives for strings."""
    if array.dtype != np.object_:
        return array
    plain = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
    return np.array(plain, np.object_).reshape(array.shape)


class Check:
    """The checks, over one of the client's four modules."""

    def __init__(self, module: Any, client: Any, *, http: bool) -> None:
        self.module = module
        self.client = client
        self.http = http

    def input(self, name: str, array: np.ndarray, **options: Any) -> Any:
        tensor = self.module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, **options)
        return tensor

    async def echo(self, dtype: str, sent: dict[str, Any], wanted: list[Any] | None) -> None:
        array = VALUES[dtype]
        inputs = [self.input("x", array, **sent)]
        answer = await value(self.client.infer(f"echo-{dtype}", inputs, outputs=wanted, request_id="7"))
        np.testing.assert_array_equal(text(answer.as_numpy("y")), array)
        response = answer.get_response()
        assert (response["id"] if isinstance(response, dict) else response.id) == "7"

    async def echoes(self) -> None:
        for dtype in VALUES:
            await self.echo(dtype, {}, None)
            if not self.http:
                await self.echo(dtype, {}, [self.module.InferRequestedOutput("y")])
                continue
            for sent in (True, False):
                if dtype == "float16" and not sent:
                    continue  # This client itself refuses to send FP16 as JSON.
                for back in (True, False):
                    wanted = [self.module.InferRequestedOutput("y", binary_data=back)]
                    await self.echo(dtype, {"binary_data": sent}, wanted)

    async def two_inputs(self) -> None:
        a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.full((3, 2), 0.5, np.float32)
        answer = await value(self.client.infer("sum", [self.input("a", a), self.input("b", b)]))
        np.testing.assert_array_equal(answer.as_numpy("total"), a + b)
        np.testing.assert_array_equal(answer.as_numpy("rest"), a - b)
        rest = [self.module.InferRequestedOutput("rest")]
        answer = await value(self.client.infer("sum", [self.input("a", a), self.input("b", b)], outputs=rest))
        assert answer.as_numpy("total") is None
        np.testing.assert_array_equal(answer.as_numpy("rest"), a - b)

    async def mixed(self) -> None:
        a, b = np.ones((1, 2), np.float32), np.ones((1, 2), np.float32)
        inputs = [self.input("a", a, binary_data=True), self.input("b", b, binary_data=False)]
        wanted = [
            self.module.InferRequestedOutput("total", binary_data=False),
            self.module.InferRequestedOutput("rest", binary_data=True),
        ]
        answer = await value(self.client.infer("sum", inputs, outputs=wanted))
        np.testing.assert_array_equal(answer.as_numpy("total"), a + b)
        np.testing.assert_array_equal(answer.as_numpy("rest"), a - b)

    async def classification(self) -> None:
        wanted = [self.module.InferRequestedOutput("probabilities", class_count=2)]
        row = self.input("X", np.ones((1, 4), np.float32))
        answer = await value(self.client.infer("iris", [row], outputs=wanted))
        classes = text(answer.as_numpy("probabilities"))
        assert classes.shape == (1, 2)
        assert classes[0, 0].split(":")[2] in ("setosa", "versicolor", "virginica")

    async def facts(self) -> None:
        client = self.client
        assert await value(client.is_server_live())
        assert await value(client.is_server_ready())
        assert await value(client.is_model_ready("iris"))
        assert await value(client.is_model_ready("iris", "0"))
        as_json = {} if self.http else {"as_json": True}
        server = await value(client.get_server_metadata(**as_json))
        assert "binary_tensor_data" in server["extensions"]
        model = await value(client.get_model_metadata("iris", **as_json))
        assert model["inputs"][0]["datatype"] == "FP32"
        assert [int(size) for size in model["inputs"][0]["shape"]] == [-1, 4]
        config = await value(client.get_model_config("iris", **as_json))
        config = config if self.http else config["config"]
        assert [int(size) for size in config["input"][0]["dims"]] == [4]
        assert config["max_batch_size"] > 1
        index = await value(client.get_model_repository_index(**as_json))
        models = index if self.http else index["models"]
        assert {"iris", "sum"} <= {model["name"] for model in models}
        statistics = await value(client.get_inference_statistics("sum", **as_json))
        assert int(statistics["model_stats"][0]["inference_count"]) > 0

    async def refused(self, outcome: Any, *says: str) -> None:
        try:
            await value(outcome())
        except InferenceServerException as error:
            message = str(error)
        else:
            message = "not refused"
        assert all(word in message for word in says), message

    async def refusals(self) -> None:
        client, row = self.client, np.ones((1, 4), np.float32)
        await self.refused(lambda: client.infer("nope", [self.input("X", row)]), "nope")
        await self.refused(lambda: client.infer("iris", [self.input("Y", row)]), "`Y`")
        await self.refused(lambda: client.infer("iris", [self.input("X", row[:, :3])]), "[1, 3]")
        await self.refused(lambda: client.infer("iris", [self.input("X", row.astype(float))]), "FP64")
        await self.refused(lambda: client.infer("iris", [self.input("X", row)], model_version="9"), "9")
        await self.refused(lambda: client.load_model("iris"), "hint")
        await self.refused(lambda: client.get_model_metadata("nope"), "nope")

    async def compressed(self) -> None:
        row = self.input("X", np.ones((1, 4), np.float32))
        prefixes = ("request_", "response_") if self.http else ("",)
        for algorithm in ("gzip", "deflate"):
            ways = {f"{prefix}compression_algorithm": algorithm for prefix in prefixes}
            answer = await value(self.client.infer("iris", [row], **ways))
            assert answer.as_numpy("probabilities").shape == (1, 3)

    async def everything(self) -> None:
        await self.echoes()
        await self.two_inputs()
        await self.classification()
        await self.facts()
        await self.refusals()
        await self.compressed()
        if self.http:
            await self.mixed()
        await value(self.client.close())


def many_at_once(module: Any, client: Any, *, http: bool) -> None:
    """Send without waiting, as both sync clients can."""
    check, rows = Check(module, client, http=http), np.ones((1, 4), np.float32)
    if http:
        pending = [client.async_infer("iris", [check.input("X", rows)]) for _ in range(20)]
        assert all(result.get_result().as_numpy("label").shape == (1,) for result in pending)
        return
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(20):
        inputs = [check.input("X", rows)]
        client.async_infer("iris", inputs, lambda result, error: done.put((result, error)))
    answers = [done.get(timeout=10) for _ in range(20)]
    assert all(error is None for _, error in answers)
    client.start_stream(lambda result, error: done.put((result, error)))
    for number, name in enumerate(("iris", "nope", "iris")):
        client.async_stream_infer(
            name, [check.input("X", rows)], request_id=str(number), enable_empty_final_response=True
        )
    streamed = [done.get(timeout=10) for _ in range(3)]
    client.stop_stream()
    assert [error is None for _, error in streamed] == [True, False, True]
    assert [streamed[at][0].get_response().id for at in (0, 2)] == ["0", "2"]


async def run(part: str, http: str, grpc: str) -> None:
    """Run the checks of one module."""
    if part == "http":
        import tritonclient.http as module

        many_at_once(module, module.InferenceServerClient(http, concurrency=4), http=True)
    elif part == "http_aio":
        import tritonclient.http.aio as module
    elif part == "grpc":
        import tritonclient.grpc as module

        many_at_once(module, module.InferenceServerClient(grpc), http=False)
    else:
        import tritonclient.grpc.aio as module
    over_http = part.startswith("http")
    client = module.InferenceServerClient(http if over_http else grpc)
    await Check(module, client, http=over_http).everything()
    print("all of it works")


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
