"""The load generators: wrk for HTTP and h2load for gRPC, each on one core, on loopback, ending by itself."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, LOAD_CORE = "0", "1"


@dataclass(frozen=True)
class Load:
    """What one round gave: requests a second, latencies in milliseconds, and how many failed."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


def http(
    url: str,
    body: bytes,
    *,
    connections: int = 32,
    seconds: float = 3,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Load:
    """Post `body` over and over with wrk."""
    all_headers = {"content-type": content_type, **(headers or {})}
    with tempfile.TemporaryDirectory() as folder:
        data, script = Path(folder, "body"), Path(folder, "post.lua")
        data.write_bytes(body)
        lines = [
            f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in all_headers.items()
        ]
        script.write_text(_LUA.format(path=data, headers="\n".join(lines)))
        wrk = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--latency"]
        out = _run(["taskset", "-c", LOAD_CORE, *wrk, "-s", str(script), url])
    failed = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", out))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return Load(
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", out)),
        p50_ms=_ms(_found(r"50%\s+([\d.]+\w+)", out)),
        p99_ms=_ms(_found(r"99%\s+([\d.]+\w+)", out)),
        failed=failed + (int(bad.group(1)) if bad else 0),
    )


def grpc(address: str, method: str, message: bytes, *, connections: int = 8, seconds: float = 3) -> Load:
    """Call a unary `method` over and over with h2load, four calls at once on each connection."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "message")
        data.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        command = [
            "taskset",
            "-c",
            LOAD_CORE,
            "h2load",
            f"-D{int(seconds)}",
            f"-c{connections}",
            "-m4",
            "-t1",
        ]
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        out = _run([*command, *headers, "-d", str(data), f"http://{address}{method}"])
    done = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored", out)
    assert done is not None, out
    times = re.search(r"time for request:\s+([\d.]+\w+)\s+([\d.]+\w+)\s+([\d.]+\w+)", out)
    assert times is not None, out
    failed = int(done.group(2)) + int(done.group(3))
    return Load(
        float(_found(r"finished in .*?, ([\d.]+) req/s", out)),
        _ms(times.group(3)),
        _ms(times.group(2)),
        failed,
    )


_LUA = """
local file = io.open("{path}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
{headers}
"""


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout + done.stderr


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match.group(1)


def _ms(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    assert match is not None, text
    return float(match.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[match.group(2)]
