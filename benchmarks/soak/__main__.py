"""Serve a good client beside a hostile one for a while, and judge what the good one saw.

``python benchmarks/soak --minutes 30 --write``. One server of two workers; a good client at 200 requests a
second, REST and gRPC by halves; and every kind of `kinds` and `grpc_kinds`, in turn and all together.
Exits with 1 if a limit is broken. ``--write`` writes docs/benchmarks-soak.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "tests"))

import grpc_kinds  # noqa: E402, F401 - registers its kinds
from good_client import RECORD  # noqa: E402
from kinds import KINDS  # noqa: E402
from observed import Sampler, Soak, read_records  # noqa: E402
from plan import Slot, plan  # noqa: E402
from served import FLAGS, soaked  # noqa: E402

import page  # noqa: E402
from support.server_process import ServerProcess  # noqa: E402

RATE = 200.0


def main() -> int:
    """Soak, print the tables, and return 1 if a limit is broken."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--cycles", type=int, default=6, help="how often all kinds have their turn")
    parser.add_argument("--kinds", default="", help="comma-separated names; all of them if empty")
    parser.add_argument(
        "--lenient", action="store_true", help="judge losses and memory only, on a machine with neighbours"
    )
    parser.add_argument("--log", type=Path, help="a file for what the server says")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-soak.md")
    options = parser.parse_args()
    kinds = [name.strip() for name in options.kinds.split(",") if name.strip()] or list(KINDS)
    if unknown := [name for name in kinds if name not in KINDS]:
        parser.error(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    slots = plan(kinds, options.minutes * 60, options.cycles)
    with tempfile.TemporaryDirectory() as folder, soaked(Path(folder)) as server:
        soak = measure(server, slots, Path(folder))
        soak.exit_code = server.stop(60)
        if options.log is not None:
            options.log.write_text(server.log, encoding="utf-8")
    limits = page.limits(soak, lenient=options.lenient)
    text = page.text(soak, limits)
    sys.stdout.write(text)
    if options.write:
        page.write(text)
    return 0 if all(limit.met for limit in limits) else 1


def measure(server: ServerProcess, slots: Sequence[Slot], folder: Path) -> Soak:
    """Run both clients beside the server, and return what was observed."""
    port, target = int(server.url.rpartition(":")[2]), server.grpc_target()
    seconds = slots[-1].end_s
    path = folder / "records.npz"
    good = _client(
        "good_client",
        {
            "port": port,
            "target": target,
            "seconds": seconds,
            "rate": RATE,
            "path": str(path),
        },
    )
    hostile = _client(
        "hostile_client",
        {
            "port": port,
            "grpc_port": int(target.rpartition(":")[2]),
            "slots": [(slot.start_s, slot.end_s, slot.kinds) for slot in slots],
        },
    )
    clients, ended, watching = (good, hostile), threading.Event(), None
    try:
        start_s = _begin(clients)
        sampler = Sampler(server.process.pid, start_s)
        watching = threading.Thread(target=sampler.run, args=(ended,))
        watching.start()
        outputs = [client.communicate(timeout=seconds + 60)[0] for client in clients]
        if any(client.returncode for client in clients):
            raise RuntimeError(f"clients ended with {[client.returncode for client in clients]}")
    finally:
        ended.set()
        if watching is not None:
            watching.join()
        for client in clients:
            client.kill()
            client.communicate()
    records, ways = read_records(path, RECORD)
    return Soak(slots, records, ways, sampler.samples, json.loads(outputs[1]), " ".join(FLAGS))


def _begin(clients: Sequence[subprocess.Popen[str]]) -> float:
    """Wait until all are ready, tell them when to begin, and return it."""
    for client in clients:
        assert client.stdout is not None
        if client.stdout.readline() != "ready\n":
            raise RuntimeError(f"{client.args} ended with {client.wait()}")
    start_s = time.monotonic() + 1
    for client in clients:
        assert client.stdin is not None
        client.stdin.write(f"{start_s}\n")
        client.stdin.flush()
    return start_s


def _client(name: str, arguments: dict[str, object]) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / f"{name}.py"), json.dumps(arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    sys.exit(main())
