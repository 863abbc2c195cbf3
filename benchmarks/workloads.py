"""What is measured: each workload gives figures by contender, a round at a time."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
import uvloop

import servers
from load import SERVER_CORE, Load, grpc, http
from servers import Running, running

ROW = json.dumps({"data": [[5.1, 3.5, 1.4, 0.2]]}, separators=(",", ":")).encode()


@dataclass
class Series:
    """The rounds of one contender at one workload."""

    rounds: list[Load] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return median(load.rate for load in self.rounds)

    @property
    def p50_ms(self) -> float:
        return median(load.p50_ms for load in self.rounds)

    @property
    def p99_ms(self) -> float:
        return median(load.p99_ms for load in self.rounds)

    @property
    def failed(self) -> int:
        return sum(load.failed for load in self.rounds)


def paired(series: Series, other: Series, figure: Callable[[Load], float]) -> float:
    """Return how many times `other` the `series` is in `figure`: the median over rounds measured in turn.

    A machine with neighbours is a half slower for minutes: then pairs say more than the medians of each.
    """
    return median(figure(a) / figure(b) for a, b in zip(series.rounds, other.rounds, strict=True))


Measure = Callable[[], Load]


def interleaved(contenders: dict[str, Measure], rounds: int) -> dict[str, Series]:
    """Measure every contender once a round, after one round that does not count."""
    series = {name: Series() for name in contenders}
    for number in range(rounds + 1):
        for name, measure in contenders.items():
            load = measure()
            if number:
                series[name].rounds.append(load)
    return series


@contextmanager
def started(**commands: tuple[list[str], dict[str, Any]]) -> Iterator[dict[str, Running]]:
    """Run all the servers of a workload at once: those not asked cost nothing."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(running(command, **options))
            for name, (command, options) in commands.items()
        }


def one_row_json(bundle: Path, rounds: int, seconds: float) -> dict[str, Series]:
    """One row of JSON, 32 connections."""
    environ = {"MODEL": str(bundle / "model.onnx"), "PYTHONPATH": ""}
    with started(
        lading=(servers.lading(bundle), {}),
        fastapi=(servers.fastapi(), {"environ": environ}),
        echo=(servers.echo_http(), {"probe": ""}),
    ) as up:
        # The echo listens on the REST port only; it knows no routes.
        paths = {"lading": "/models/iris/predict", "fastapi": "/predict", "echo": "/"}
        measures = {name: lambda name=name: http(up[name].url(paths[name]), ROW, seconds=1) for name in up}
        # Many short rounds in turn: a neighbour on the machine slows seconds of one or the other.
        return interleaved(measures, round(rounds * seconds))


def one_row_grpc(bundle: Path, rounds: int, seconds: float) -> dict[str, Series]:
    """One row over gRPC, Open Inference Protocol, raw contents, 8 connections of 4 calls."""
    message = _infer_message(bundle)
    with started(
        lading=(servers.lading(bundle), {}),
        echo=(servers.echo_grpc(), {"probe": "", "grpc_only": True}),
    ) as up:
        time.sleep(1)  # gRPC opens a moment after REST.
        method = "/inference.GRPCInferenceService/ModelInfer"
        measures = {
            name: lambda name=name: grpc(up[name].grpc_address, method, message, seconds=1) for name in up
        }
        return interleaved(measures, round(rounds * seconds))


def matrices(bundle: Path, rounds: int, seconds: float) -> dict[str, Series]:
    """1,000 × 30 as JSON and as binary tensors, 4 connections; beside them what JSON cannot do without."""
    data, text = matrix()
    least = _fastest_parse_and_model(bundle)
    head = _infer_head(bundle, data)
    environ = {"MODEL": str(bundle / "model.onnx"), "PYTHONPATH": ""}
    with started(
        lading=(servers.lading(bundle), {}),
        fastapi=(servers.fastapi(), {"environ": environ}),
        least=(servers.parse_http(), {"environ": environ, "probe": ""}),
    ) as up:
        mine, other, bare = up["lading"], up["fastapi"], up["least"]
        binary = {"Inference-Header-Content-Length": str(len(head))}
        return interleaved(
            {
                "parse and model alone": lambda: _again_and_again(least, 1),
                "bare server of both": lambda: http(bare.url("/"), text, connections=4, seconds=1),
                "lading JSON": lambda: http(
                    mine.url("/models/cancer/predict"), text, connections=4, seconds=1
                ),
                "lading OIP JSON": lambda: http(
                    mine.url("/v2/models/cancer/infer"),
                    _infer_json(bundle, data),
                    connections=4,
                    seconds=1,
                ),
                "lading binary": lambda: http(
                    mine.url("/v2/models/cancer/infer"),
                    head + data.tobytes(),
                    connections=4,
                    seconds=1,
                    content_type="application/octet-stream",
                    headers=binary,
                ),
                "fastapi JSON": lambda: http(other.url("/predict"), text, connections=4, seconds=1),
            },
            round(rounds * seconds),
        )


def merging(bundle: Path, connections: int, rounds: int, seconds: float) -> dict[str, Series]:
    """Run a model of about 1 ms with merging on and off.

    Both start again for every pair: where the weights of a process happen to be in memory makes a tenth of
    a millisecond, and stays with it as long as it lives.
    """
    path = "/models/costly/predict"
    series = {"on": Series(), "off": Series()}
    # One connection is about a difference of a twentieth: so many pairs, each in short rounds.
    pairs, turns, length = (rounds, 1, seconds) if connections > 1 else (3 * rounds, 2, 1)
    for number in range(pairs):
        with started(
            on=(servers.lading(bundle), {}), off=(servers.lading(bundle, "--max-batch-rows", "1"), {})
        ) as up:
            names = [*up] if number % 2 else [*reversed(up)]  # The first is not always the same.
            for name in (*names, *reversed(names)) * turns:
                load = http(up[name].url(path), ROW, connections=connections, seconds=length)
                series[name].rounds.append(load)
    return series


def two_workers(bundle: Path, rounds: int, seconds: float) -> dict[str, Series]:
    """One row of JSON with one worker and with two, both cores for servers and load alike."""
    with started(
        one=(servers.lading(bundle), {"cores": "0,1"}),
        two=(servers.lading(bundle, "--workers", "2"), {"cores": "0,1"}),
    ) as up:
        measures = {
            name: lambda name=name: http(up[name].url("/models/iris/predict"), ROW, seconds=seconds)
            for name in up
        }
        return interleaved(measures, rounds)


@dataclass(frozen=True)
class Start:
    """From the command to the first prediction, and the memory then."""

    seconds: float
    resident_mb: float


def start_up(bundle: Path, rounds: int) -> Start:
    """Start one small model on one core until it has answered a prediction."""
    times, memory = [], []
    for _ in range(rounds):
        began = time.monotonic()
        with running(servers.lading(bundle)) as up:
            with urllib.request.urlopen(up.url("/predict/test"), timeout=5) as answer:
                assert answer.status == 200
            times.append(time.monotonic() - began)
            time.sleep(1)  # gRPC comes a moment later, and counts.
            memory.append(up.resident_mb)
    return Start(median(times), median(memory))


def soak(bundle: Path, early: int = 50_000, late: int = 1_000_000) -> dict[str, float]:
    """Return the resident megabytes after `early` and after `late` requests, and how many of them failed."""
    with running(servers.lading(bundle)) as up:
        done, failed, resident = 0.0, 0, []
        for goal in (early, late):
            while done < goal:
                load = http(up.url("/models/iris/predict"), ROW, seconds=2)
                done, failed = done + load.rate * 2, failed + load.failed
            resident.append(up.resident_mb)
        return {"early": resident[0], "late": resident[1], "failed": failed, "requests": done}


def own_cost(bundle: Path) -> dict[str, float]:
    """Microseconds of CPU for one request inside the process: with the model, and without it."""
    with _Inside(bundle) as inside:
        inputs = {name: array[:1] for name, array in inside.samples.items()}
        request = inside.request(f"/models/{inside.name}/predict", ROW)
        whole = inside.cost(request)
        inside.answer_without_model(inputs)
        return {"request": whole, "own": inside.cost(request)}


def matrix_cost(bundle: Path) -> dict[str, float]:
    """Microseconds of CPU for 1,000 × 30 inside the process, as JSON and as binary tensors."""
    data, text = matrix()
    with _Inside(bundle) as inside:
        head = _infer_head(bundle, data)
        binary = {"Inference-Header-Content-Length": str(len(head))}
        name = inside.name
        as_json = inside.request(f"/models/{name}/predict", text)
        as_binary = inside.request(f"/v2/models/{name}/infer", head + data.tobytes(), binary)
        inputs = {_input_name(bundle): data}
        return {
            "json": inside.cost(as_json, 50),
            "binary": inside.cost(as_binary, 50),
            "model": inside.model_cost(inputs, 50),
        }


class _Inside:
    """The server's own code from received bytes to written bytes, without a network."""

    def __init__(self, bundle: Path) -> None:
        from lading.bundle import Bundle
        from lading.server.inference.version import ServedVersion, State
        from lading.server.loading.loader import prepare
        from lading.server.process.compose import make_app, make_plane
        from lading.server.process.http_server import uvicorn_config
        from lading.settings import ServeSettings

        settings = ServeSettings(grpc_port=-1)
        opened = Bundle.open(bundle)
        self.name = opened.manifest.name
        self.samples = opened.samples().inputs
        self._served = ServedVersion(self.name, 1, opened.digest)
        prepare(self._served, opened, 1)
        self._served.advance(State.READY)
        # Run on the loop, whatever it costs and however long: there is no thread to hand it to.
        runs = self._served.model.inline_runs
        runs.rows = sys.maxsize
        runs.doubt = lambda _size: None  # type: ignore[method-assign]
        plane = make_plane(settings)
        plane.publish([self._served])
        self._config = uvicorn_config(make_app(plane, settings), settings)
        self._config.load()
        self._loop = uvloop.new_event_loop()  # As the server's.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.close()

    def request(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
        all_headers = {"Host": "bench", "Content-Type": "application/json", **(headers or {})}
        lines = [
            f"{name}: {value}" for name, value in {**all_headers, "Content-Length": str(len(body))}.items()
        ]
        return ("\r\n".join([f"POST {path} HTTP/1.1", *lines]) + "\r\n\r\n").encode() + body

    def cost(self, request: bytes, repeat: int = 4000) -> float:
        import uvicorn.server

        state = uvicorn.server.ServerState()
        state.default_headers = [(b"date", b"Fri, 20 Nov 2026 08:00:00 GMT")]

        async def measure() -> float:
            make: Any = self._config.http_protocol_class
            connection = make(config=self._config, server_state=state, app_state={})
            nowhere = _Nowhere()
            connection.connection_made(nowhere)

            def turn() -> None:  # Of the event loop, with one request and none to share anything with.
                connection.data_received(request)
                make.stage.run()

            turn()
            assert b" 200 " in nowhere.last[:16], nowhere.last[:300]
            fastest = float("inf")
            for _ in range(15):
                fastest = min(fastest, _fastest(turn, repeat=repeat // 10, rounds=1))
                await asyncio.sleep(0)  # The loop forgets the turns that it was asked for.
            return fastest

        return self._loop.run_until_complete(measure())

    def answer_without_model(self, inputs: dict[str, Any]) -> None:
        """Return from now on the model's answer to `inputs`, without running it."""
        answer = self._served.run(inputs)
        self._served.run = lambda _inputs, _outputs: answer  # type: ignore[method-assign]

    def model_cost(self, inputs: dict[str, Any], repeat: int = 4000) -> float:
        names = (self._served.signature.primary.name,)
        return _fastest(lambda: self._served.run(inputs, names), repeat=repeat)


def floor_ms(bundle: Path) -> float:
    """Milliseconds of CPU of the fastest way known to read 1,000 × 30 into float32, and the model."""
    return _fastest(_fastest_parse_and_model(bundle), repeat=100, rounds=10) / 1000


def _fastest_parse_and_model(bundle: Path) -> Callable[[], object]:
    import simdjson

    from lading.bundle import Bundle
    from lading.runtime.open import load_runtime

    _, text = matrix()
    opened = Bundle.open(bundle)
    runtime = load_runtime(opened, threads=1)
    name = opened.manifest.signature.inputs[0].name
    parser = simdjson.Parser()

    def run() -> None:
        flat = np.frombuffer(parser.parse(text)["data"].as_buffer(of_type="d"))
        runtime.run({name: flat.astype(np.float32).reshape(1000, 30)}, ("probabilities",))

    return run


def _again_and_again(act: Callable[[], object], seconds: float) -> Load:
    """Do `act` on the core of the servers, as they do what they are asked."""
    cores, times = os.sched_getaffinity(0), []
    os.sched_setaffinity(0, {int(SERVER_CORE)})
    try:
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            act()
            times.append((time.perf_counter() - began) * 1000)
    finally:
        os.sched_setaffinity(0, cores)
    times.sort()
    return Load(len(times) / seconds, times[len(times) // 2], times[len(times) * 99 // 100], 0)


class _Nowhere(asyncio.Transport):
    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        self.last = data

    def is_closing(self) -> bool:
        return False


def _fastest(act: Callable[[], object], *, repeat: int = 4000, rounds: int = 15) -> float:
    """Return the microseconds of CPU of the fastest round: the others were disturbed."""
    for _ in range(repeat):
        act()
    fastest = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(repeat):
            act()
        fastest = min(fastest, (time.process_time() - began) / repeat)
    return fastest * 1e6


def matrix() -> tuple[np.ndarray, bytes]:
    data = np.random.default_rng(0).standard_normal((1000, 30)).round(6)
    return data.astype(np.float32), json.dumps({"data": data.tolist()}, separators=(",", ":")).encode()


def _infer_head(bundle: Path, data: np.ndarray) -> bytes:
    """Write the JSON that goes before binary tensors."""
    parameters = {"binary_data_size": data.nbytes}
    tensor = {
        "name": _input_name(bundle),
        "shape": list(data.shape),
        "datatype": "FP32",
        "parameters": parameters,
    }
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    return json.dumps({"inputs": [tensor], "outputs": outputs}).encode()


def _input_name(bundle: Path) -> str:
    manifest = json.loads((bundle / "bundle.json").read_text())
    return str(manifest["signature"]["inputs"][0]["name"])


def _infer_json(bundle: Path, data: np.ndarray) -> bytes:
    """Write the same tensor as JSON."""
    values = data.astype(np.float64).round(6).ravel().tolist()
    tensor = {"name": _input_name(bundle), "shape": list(data.shape), "datatype": "FP32", "data": values}
    return json.dumps({"inputs": [tensor], "outputs": [{"name": "probabilities"}]}).encode()


def _infer_message(bundle: Path) -> bytes:
    """Write a ModelInferRequest by hand, field by field, so that the load needs no stubs."""

    def field_of(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    name = _input_name(bundle).encode()
    tensor = field_of(1, name) + field_of(2, b"FP32") + field_of(3, bytes([1, 4]))
    output = field_of(1, b"probabilities")
    raw = struct.pack("<4f", 5.1, 3.5, 1.4, 0.2)
    return field_of(1, b"iris") + field_of(5, tensor) + field_of(6, output) + field_of(7, raw)
