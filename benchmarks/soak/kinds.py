"""The kinds of hostile traffic over REST. Each runs until it is cancelled, and is bounded by what it says.

The first line of each is its line on the page: how many, and how often.
"""

from __future__ import annotations

import asyncio
import functools
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from wire import Target, beside, post

Kind = Callable[[Target], Awaitable[None]]
KINDS: dict[str, Kind] = {}
ROW = [5.1, 3.5, 1.4, 0.2]
_NATIVE, _V1, _V2 = "/models/iris/predict", "/v1/models/iris:predict", "/v2/models/iris/infer"
_MB = 1 << 20
_LARGE_TEXT = 14 * _MB


def kind(run: Kind) -> Kind:
    """Name a kind by its function."""
    KINDS[run.__name__.replace("_", " ")] = run
    return run


async def every(seconds: float, act: Callable[[], Awaitable[None]], most: int = 32) -> None:
    """Do `act` every so many seconds, whether the last has ended or not, but `most` at once."""
    async with asyncio.TaskGroup() as group:
        running: set[asyncio.Task[None]] = set()
        while True:
            if len(running) < most:
                task = group.create_task(act())
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(seconds)


async def together(target: Target, seconds: float, *requests: bytes, shuts: bool = False) -> None:
    """Send each request every so many seconds."""
    async with asyncio.TaskGroup() as group:
        for request in requests:
            act = functools.partial(target.ask, request, shuts=shuts)
            group.create_task(every(seconds, act))


def rows(size_bytes: int, last: str = "[5.1,3.5,1.4,0.2]", row: str = "[5.1,3.5,1.4,0.2]") -> str:
    """Write rows of JSON up to a size, the last one of another kind."""
    return ",".join([row] * (size_bytes // (len(row) + 1)) + [last])


@kind
async def odd_chunks(target: Target) -> None:
    """Chunked bodies of 20 to 180 kB in odd pieces, half of them ill-formed: 10 a second."""
    chance = random.Random(1)
    head = f"POST {_V1} HTTP/1.1\r\nhost: soak\r\ntransfer-encoding: chunked\r\n".encode()
    ill = (b"zz\r\n", b"-1\r\n", b"5\nabcde", b"f" * 40 + b"\r\n", b"5;" + b"x" * 70_000)

    async def act() -> None:
        body = b'{"instances":[%b]}' % rows(chance.choice((20_000, 66_000, 180_000))).encode()
        pieces, at = [head + b"\r\n"], 0
        while at < len(body):
            size = chance.choice((1, 7, 4000, 65_000))
            part = body[at : at + size]
            pieces += [b"%x\r\n" % len(part), part, b"\r\n"]
            at += size
        joined = b"".join(pieces) + b"0\r\n\r\n"
        fault = chance.randrange(10)
        if fault < len(ill):
            joined = head + b"\r\n5\r\nabcde\r\n" + ill[fault]
        elif fault == len(ill):
            joined = head + b"content-length: 5\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
        cut = chance.randrange(1, len(joined))
        await target.ask(joined[:cut], joined[cut:], pause_s=0.002)

    await every(0.1, act)


@kind
async def slow_uploads(target: Target) -> None:
    """20 uploads at 100 bytes a second, with a length and chunked, until the server cuts them off."""

    async def act(chunked: bool) -> None:
        size = "transfer-encoding: chunked" if chunked else "content-length: 200000"
        async with target.connection() as (reader, writer):
            writer.write(f"POST {_NATIVE} HTTP/1.1\r\nhost: soak\r\n{size}\r\n\r\n".encode())
            async with beside(target.read_answer(reader)) as answer:
                while not answer.done():
                    writer.write(b"a\r\n" + b" " * 10 + b"\r\n" if chunked else b" " * 10)
                    await asyncio.wait([answer], timeout=0.1)
                await answer

    async def again(at: int) -> None:
        while True:
            await act(at % 2 == 0)
            await asyncio.sleep(0.1)

    await asyncio.gather(*(again(at) for at in range(20)))


@kind
async def half_closes(target: Target) -> None:
    """Requests whose sender shuts its side down, whole ones and halves: 20 a second."""
    whole = post(_NATIVE, json.dumps({"data": [ROW]}).encode())
    await together(target, 0.1, whole, whole[:-5], shuts=True)


@functools.cache
def _slow_texts() -> list[bytes]:
    columns = ",".join(["[5.1,3.5,1.4,0.2]"] * (_LARGE_TEXT // 18))
    record = json.dumps(
        dict(zip(("sepal_length", "sepal_width", "petal_length", "petal_width"), ROW, strict=True))
    )
    return [
        post(_V1, b'{"instances":[%b]}' % rows(_LARGE_TEXT, "[Infinity,1,1,1]").encode()),
        post(_NATIVE, b'{"data":[%b]}' % rows(_LARGE_TEXT, '[1,1,1,"x"]').encode()),
        post(_V1, b'{"inputs":{"X":[%b]}}' % columns.encode()),
        post(_NATIVE, b'{"data":[%b]}' % rows(_LARGE_TEXT, record, record).encode()),
        post(_V2, _infer(f"[{rows(_LARGE_TEXT, '[1,1,1,null]')}]", _LARGE_TEXT // 18 + 1)),
    ]


@kind
async def slow_text(target: Target) -> None:
    """14 MB of JSON with an infinity or a wrong value at its end, by column, as records: one by one."""
    while True:
        for body in _slow_texts():
            await target.ask(body)
            await asyncio.sleep(0.5)


def _infer(data: str, size: int, more: str = "") -> bytes:
    tensor = f'{{"name":"X","datatype":"FP32","shape":[{size},4],"data":{data}}}'
    return f'{{"inputs":[{tensor}]{more}}}'.encode()


@kind
async def deep_lists(target: Target) -> None:
    """An element 900 lists deep, then 200,000 numbers, compressed: 5 a second."""
    data = "[" + "[" * 900 + "1" + "]" * 900 + ",1" * 200_000 + "]"
    body = post(_V2, _infer(data, 50_000), packed=True)
    await every(0.2, functools.partial(target.ask, body))


@functools.cache
def _bombs() -> list[bytes]:
    return [post(_NATIVE, b" " * (40 * _MB), packed=True), post(_V2, b"[" * (30 * _MB), packed=True)]


@kind
async def gzip_bombs(target: Target) -> None:
    """40 MB of spaces and 30 MB of brackets, compressed to 40 kB: 5 a second."""
    at = 0

    async def act() -> None:
        nonlocal at
        at += 1
        await target.ask(_bombs()[at % 2])

    await every(0.2, act)


@kind
async def outputs_by_the_thousand(target: Target) -> None:
    """One output named 40,000 times, compressed: 5 a second."""
    named = ",".join(['{"name":"probabilities"}'] * 40_000)
    body = post(_V2, _infer(json.dumps(ROW), 1, f',"outputs":[{named}]'), packed=True)
    await every(0.2, functools.partial(target.ask, body))


@kind
async def slow_readers(target: Target) -> None:
    """12 connections that ask for 8 answers of 1 MB each and read 100 bytes a second."""
    values = np.ones((1, 250_000), np.float32)
    tensor: dict[str, Any] = {"name": "X", "datatype": "FP32", "shape": list(values.shape)}
    tensor["parameters"] = {"binary_data_size": values.nbytes}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    lengths = [f"inference-header-content-length: {len(text)}", "content-type: application/octet-stream"]
    request = post("/v2/models/free/infer", text + values.tobytes(), headers=lengths)

    async def act() -> None:
        while True:
            async with target.connection() as (reader, writer), beside(_send(writer, request, 8)):
                while part := await reader.read(100):
                    target.got["bytes read"] += len(part)
                    await asyncio.sleep(1)
                target.got["closed"] += 1
            await asyncio.sleep(0.5)

    await asyncio.gather(*(act() for _ in range(12)))


async def _send(writer: asyncio.StreamWriter, request: bytes, times: int) -> None:
    try:
        for _ in range(times):
            writer.write(request)
            await writer.drain()
    except OSError:
        return  # Cut off, which the reading side counts.


@kind
async def pipelining(target: Target) -> None:
    """2 connections with 2,000 requests at once each, every half second."""
    burst = post(_NATIVE, json.dumps({"data": [ROW]}).encode()) * 2000

    async def act() -> None:
        while True:
            async with target.connection() as (reader, writer), beside(_send(writer, burst, 1)):
                for _ in range(2000):
                    await target.read_answer(reader)
            await asyncio.sleep(0.5)

    await asyncio.gather(act(), act())


@kind
async def empty_rows(target: Target) -> None:
    """A row without values, for a model whose rows have any length, and no steps for a GRU: 40 a second."""
    row, steps = (post(f"/models/{name}/predict", b'{"data":[[]]}') for name in ("free", "sequence"))
    none = post("/models/sequence/predict", b'{"data":{"X":[]}}')
    await together(target, 0.075, row, steps, none)


@kind
async def two_hosts(target: Target) -> None:
    """Requests with two Host headers, and with none: 20 a second each."""
    body = post(_NATIVE, json.dumps({"data": [ROW]}).encode())
    two = body.replace(b"host: soak", b"host: soak\r\nhost: other")
    none = body.replace(b"host: soak\r\n", b"")
    await together(target, 0.05, two, none)


@kind
async def foreign_origins(target: Target) -> None:
    """Feedback from the page of another site: 20 a second."""
    body = json.dumps({"request_id": "a", "label": "setosa"}).encode()
    request = post("/models/iris/feedback", body, headers=["origin: https://evil.example.com"])
    await every(0.05, functools.partial(target.ask, request))


@kind
async def endless_runs(target: Target) -> None:
    """A loop whose length is its input, 10^15 rounds: one at a time, again once its deadline has ended it."""
    body = post("/models/endless/predict", json.dumps({"data": [[1e15] * 4]}).encode())
    while True:
        await target.ask(body)
        await asyncio.sleep(0.2)


@kind
async def dear_texts(target: Target) -> None:
    """A text of 1 MB for a model whose golden rows are words: 2 a second."""
    texts = post("/models/text/predict", json.dumps({"data": ["Seoul " * (_MB // 6)]}).encode())
    await every(0.5, functools.partial(target.ask, texts), most=4)


@kind
async def feedback_floods(target: Target) -> None:
    """Labels for answers that nobody gave: 100 a second, and 250 kB of labels, compressed, 2 a second."""
    number = 0
    many = json.dumps({"request_id": "x" * 1000, "label": ["setosa" * 10] * 500_000}).encode()

    async def act() -> None:
        nonlocal number
        number += 1
        body = json.dumps({"request_id": f"no-such-{number}", "label": "setosa"}).encode()
        await target.ask(post("/models/iris/feedback", body))

    packed = post("/models/iris/feedback", many, packed=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(every(0.01, act))
        group.create_task(every(0.5, functools.partial(target.ask, packed), most=4))


@kind
async def bad_bodies(target: Target) -> None:
    """Bodies that are refused, with a key chosen for one side of a release: 100 a second."""
    bodies = [
        post(_NATIVE, body, headers=["x-lading-key: chosen"])
        for body in (b'{"data":[[1,2,3]]}', b'{"data":[["a",1,1,1]]}', b"{", b"\xff\xfe", b"")
    ]
    at = 0

    async def act() -> None:
        nonlocal at
        at += 1
        await target.ask(bodies[at % len(bodies)])

    await every(0.01, act)
