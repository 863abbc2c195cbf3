"""What access control costs a server: without it, with a key or a token seen before, and beside wrong keys.

    python benchmarks/access.py [--before FOLDER]

Serves the small network of the other benchmarks, on one core. Measures the rate of one-row JSON of each in
turn, a second at a time, and the time of the processor that the server's process takes for a request. With
`--before`, another checkout's `src` is measured as well. Wrong keys are sent at a stated rate, each another
one, over one connection, on the core of the load.
"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from joserfc import jws
from joserfc.jwk import ECKey

import models
from lading.access.keys import key_hash, new_key
from load import Load, http
from observation import cpu_s
from servers import Running, lading
from workloads import ROW, interleaved, paired, started

LIMITS = {"off": ("before", 0.98), "key": ("off", 0.95), "token": ("off", 0.95), "flooded": ("key", 0.90)}
"""What each is compared with, and the share of its rate that we want at least."""


def access_file(folder: Path) -> tuple[Path, str, str]:
    """Write an access file; return it, and the headers of a key and of a token."""
    key, signer = new_key(), ECKey.generate_key("P-256", {"kid": "a"})
    (folder / "keys.json").write_text(json.dumps({"keys": [signer.as_dict(private=False)]}))
    (folder / "access.toml").write_text(
        f'[[keys]]\nname = "bench"\nsha256 = "{key_hash(key)}"\nroles = ["predict"]\nmodels = ["*"]\n'
        '[[issuers]]\nissuer = "https://bench"\naudience = "lading"\njwks_file = "keys.json"\n'
        '[[issuers.grants]]\nclaim = "groups"\nvalue = "ml"\nroles = ["predict"]\n'
    )
    claims = {
        "iss": "https://bench",
        "aud": "lading",
        "sub": "bench",
        "exp": time.time() + 9999,
        "groups": ["ml"],
    }
    data = json.dumps(claims).encode()
    token = jws.serialize_compact({"alg": "ES256", "kid": "a"}, data, signer, algorithms=["ES256"])
    return folder / "access.toml", f"Bearer {key}", f"Bearer {token}"


@contextmanager
def flood(port: int, per_s: int) -> Iterator[list[int]]:
    """Send wrong keys until the block ends; yield how many bytes of answers came in each tick."""
    wire = socket.create_connection(("127.0.0.1", port))
    ended, ticks, tick_s = threading.Event(), [], 0.01
    count = max(1, int(per_s * tick_s))
    head = f"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: {len(ROW)}\r\n"
    batches = [
        b"".join(f"{head}authorization: Bearer {new_key()}\r\n\r\n".encode() + ROW for _ in range(count))
        for _ in range(50)
    ]

    def send() -> None:
        due = time.monotonic()
        for number in range(1_000_000):
            if ended.is_set():
                return
            wire.sendall(batches[number % len(batches)])
            due += tick_s
            time.sleep(max(0.0, due - time.monotonic()))

    def read() -> None:
        with suppress(ConnectionResetError):  # The end comes while answers are on their way.
            while data := wire.recv(1 << 20):
                ticks.append(data.count(b" 401 "))

    threads = [threading.Thread(target=act, daemon=True) for act in (send, read)]
    for thread in threads:
        thread.start()
    try:
        yield ticks
    finally:
        ended.set()
        threads[0].join()
        wire.shutdown(socket.SHUT_RDWR)
        threads[1].join()
        wire.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="seconds for each server")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--wrong-keys", type=int, default=10_000, help="wrong keys a second")
    parser.add_argument("--before", help="`src` of another checkout")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    spent: dict[str, list[float]] = defaultdict(list)
    refused: list[int] = []
    with tempfile.TemporaryDirectory(prefix="lading-access-") as folder:
        bundle = models.small(Path(folder))
        path, key, token = access_file(Path(folder))
        off, on = lading(bundle), lading(bundle, "--access", str(path))
        commands: dict[str, tuple[list[str], dict[str, object]]] = {"off": (off, {}), "on": (on, {})}
        if options.before:
            commands["before"] = (off, {"environ": {"PYTHONPATH": options.before}})
        with started(**commands) as up:

            def measure(
                name: str, server: Running, header: str = "", *, wrong: int = 0
            ) -> Callable[[], Load]:
                headers = {"authorization": header} if header else {}

                def once() -> Load:
                    before = cpu_s(server)
                    if wrong:
                        with flood(server.port, wrong) as ticks:
                            load = http(server.url("/predict"), ROW, seconds=1, headers=headers)
                        refused.append(sum(ticks))
                    else:
                        load = http(server.url("/predict"), ROW, seconds=1, headers=headers)
                    spent[name].append((cpu_s(server) - before) / load.rate * 1e6)
                    return load

                return once

            measures = {
                **({"before": measure("before", up["before"])} if options.before else {}),
                "off": measure("off", up["off"]),
                "key": measure("key", up["on"], key),
                "token": measure("token", up["on"], token),
                "flooded": measure("flooded", up["on"], key, wrong=options.wrong_keys),
            }
            series = interleaved(measures, options.rounds)
    for name, each in series.items():
        cpu_us = statistics.median(spent[name][1:])
        print(f"{name:>9}: {each.rate:8,.0f} requests/s, {cpu_us:5.2f} µs in the server's process")
    print(f"{statistics.median(refused):,.0f} wrong keys refused in a second")
    for name, (other, least) in LIMITS.items():
        if name in series and other in series:
            share = paired(series[name], series[other], lambda load: load.rate)
            print(f"{share:.3f} times the rate of {other}: {name} (at least {least:g} is wanted)")


if __name__ == "__main__":
    sys.exit(main())
