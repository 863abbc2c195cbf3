"""The kinds of hostile traffic over gRPC, registered beside those over REST in `kinds`."""

from __future__ import annotations

import asyncio

import grpc
from kinds import every, kind
from wire import PREFACE, RESET, Target, beside, call_head, frame, message

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_CANCEL = (8).to_bytes(4, "big")


def _infer(outputs: int = 1) -> bytes:
    from lading.server.grpc import descriptors

    made = descriptors.message("oip", "inference.ModelInferRequest")(
        model_name="iris",
        inputs=[{"name": "X", "datatype": "FP32", "shape": [1, 4], "contents": {"fp32_contents": [1] * 4}}],
        outputs=[{"name": "probabilities"}] * outputs,
    )
    return bytes(made.SerializeToString())


def _repeated(values: int) -> bytes:
    """Return a request of 45 bytes for a tensor of one value, which repeats."""
    from lading.server.grpc import descriptors

    made = descriptors.message("tfs", "tensorflow.serving.PredictRequest")()
    made.model_spec.name = "free"
    shape = {"dim": [{"size": 1}, {"size": values}]}
    made.inputs["X"].CopyFrom(
        descriptors.message("tfs", "tensorflow.TensorProto")(dtype=1, tensor_shape=shape, float_val=[1.0])
    )
    return bytes(made.SerializeToString())


async def _call(target: Target, method: str, request: bytes) -> None:
    options = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{target.grpc_port}", options) as channel:
        try:
            answer = await channel.unary_unary(method)(request, timeout=20)
        except grpc.aio.AioRpcError as error:
            target.got[error.code().name] += 1
        else:
            target.got["OK"] += 1
            target.got["bytes read"] += len(answer)


@kind
async def grpc_amplification(target: Target) -> None:
    """45 bytes of TensorFlow Serving for tensors of 4 MB and 13.6 MB, in turn: 4 a second."""
    requests = [_repeated(1 << 20), _repeated(3_400_000)]
    at = 0

    async def act() -> None:
        nonlocal at
        at += 1
        await _call(target, _PREDICT, requests[at % 2])

    await every(0.25, act, most=4)


@kind
async def grpc_outputs_by_the_thousand(target: Target) -> None:
    """One output named 40,000 times: once a second, each time one name more."""
    count = 40_000

    async def act() -> None:
        nonlocal count
        count += 1
        await _call(target, _INFER, _infer(count))

    await every(1, act, most=4)


@kind
async def grpc_held_calls(target: Target) -> None:
    """64 calls on 4 connections whose message never comes, again when they have been ended."""

    async def act() -> None:
        while True:
            async with target.connection(target.grpc_port) as (reader, writer):
                writer.write(PREFACE + b"".join(call_head(_INFER, 1 + 2 * at) for at in range(16)))
                await target.count_frames(reader)
            await asyncio.sleep(0.5)

    await asyncio.gather(*(act() for _ in range(4)))


@kind
async def grpc_rapid_resets(target: Target) -> None:
    """One connection with 50 calls, each reset at once, 10 times a second."""
    body = _infer()
    while True:
        async with target.connection(target.grpc_port) as (reader, writer):
            writer.write(PREFACE)
            async with beside(target.count_frames(reader)) as counting:
                stream = 1
                while not counting.done():
                    for _ in range(50):
                        writer.write(call_head(_INFER, stream) + message(stream, body))
                        writer.write(frame(RESET, 0, stream, _CANCEL))
                        stream += 2
                    await asyncio.wait([counting], timeout=0.1)
                await counting
        await asyncio.sleep(0.5)


@kind
async def grpc_idle_connections(target: Target) -> None:
    """260 connections that say nothing after their preface, opened again when they are closed."""

    async def act() -> None:
        while True:
            async with target.connection(target.grpc_port) as (reader, writer):
                writer.write(PREFACE)
                await target.count_frames(reader)
            await asyncio.sleep(1)

    await asyncio.gather(*(act() for _ in range(260)))
