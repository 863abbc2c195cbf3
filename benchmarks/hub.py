"""What live pages cost the hub: its share of one core while browsers display a release under load.

A real `lading hub` over a registry in which traffic is reported every second; each browser is a stream and
the requests that the page's script makes. SQLite in a temporary folder, or an empty database with
``--registry``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from lading.registry import Registry  # noqa: E402
from lading.release import Plan  # noqa: E402
from lading.traffic import LATENCY_BOUNDS_S  # noqa: E402
from support.bundles import linear_bundle  # noqa: E402
from support.recorded_evidence import push_proved  # noqa: E402
from support.release_processes import window  # noqa: E402
from support.waiting import wait_until  # noqa: E402

PAGE = "/models/iris/release"
LATENCIES = (0, 30, 65, *([0] * (len(LATENCY_BOUNDS_S) - 2)))


@dataclass
class Cost:
    """`core_percent` of one core, over `seconds`; `changes` and `asked` of all browsers together."""

    browsers: int
    seconds: float
    core_percent: float
    changes: int
    asked: int


def measure(browsers: int, seconds: float, url: str = "") -> Cost:
    """Start a hub and browsers, wait until all have displayed a change, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        where = url or str(Path(folder) / "registry")
        environ = {**os.environ, "LADING_STORE": str(Path(folder) / "store")} if url else dict(os.environ)
        with Registry.open(where, store=environ["LADING_STORE"] if url else None) as registry:
            for seed in (1, 2):
                push_proved(registry, linear_bundle(Path(folder) / str(seed), seed=seed))
            registry.release("iris:1", actor="benchmark")
            registry.release("iris:2", Plan(mode="canary", steps=(5, 25, 100)), actor="benchmark")
            ending = threading.Event()
            traffic = threading.Thread(target=_report, args=(registry, ending))
            traffic.start()
            command = [sys.executable, "-m", "lading", "hub", "--port", "0", "--registry", where]
            # A file, because a pipe that nobody reads would hold up a hub that logs.
            log = Path(folder) / "log"
            with log.open("w") as out:
                hub = subprocess.Popen(command, env=environ, stdout=out, stderr=out)
            try:
                return asyncio.run(_browse(hub.pid, _address(hub, log), browsers, seconds))
            finally:
                ending.set()
                traffic.join()
                hub.terminate()
                hub.wait(30)


def _report(registry: Registry, ending: threading.Event) -> None:
    """Report traffic of both sides every second, as a server does."""
    while not ending.wait(1.0):
        now = registry.fleet.now()
        counts = {"errors": {}, "latency": LATENCIES, "release": 2, "at": now - 1}
        sides = ((1, 95), (2, 5))
        registry.traffic.add_windows(
            [
                window(id=f"{version}-{now}", version=version, requests=requests, **counts)
                for version, requests in sides
            ]
        )


def _address(hub: subprocess.Popen[bytes], log: Path) -> str:
    def address() -> re.Match[str] | None:
        assert hub.poll() is None, log.read_text()
        return re.search(r"http://\S+?:\d+", log.read_text())

    return wait_until(address)[0]


async def _browse(pid: int, url: str, browsers: int, seconds: float) -> Cost:
    counts = {"changes": 0, "asked": 0}
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(_browser(client, counts)) for _ in range(browsers)]
        while counts["asked"] < browsers:
            await asyncio.sleep(0.1)
        counts.update(changes=0, asked=0)
        began, cpu = time.monotonic(), _cpu_s(pid)
        await asyncio.sleep(seconds)
        lasted = time.monotonic() - began
        share = 100 * (_cpu_s(pid) - cpu) / lasted
        for task in tasks:
            task.cancel()
    return Cost(browsers, lasted, share, counts["changes"], counts["asked"])


async def _browser(client: httpx.AsyncClient, counts: dict[str, int]) -> None:
    """Display one page as its script does."""
    page = await client.get(PAGE)
    id = re.findall(r'data-live="([0-9a-f]+)"', page.text)[0]
    async with client.stream("GET", "/live", params={"page": PAGE, "id": id}) as events:
        async for line in events.aiter_lines():
            if line.startswith("id: "):
                counts["changes"] += 1
                (await client.get(PAGE, headers={"lading-live": line[4:]})).raise_for_status()
                counts["asked"] += 1


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browsers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--registry", default="", help="an empty database; without it, SQLite")
    asked = parser.parse_args()
    cost = measure(asked.browsers, asked.seconds, asked.registry)
    print(
        f"{cost.browsers} browsers, {cost.seconds:.0f} s: {cost.core_percent:.1f} % of one core; "
        f"{cost.changes} changes displayed, {cost.asked} pages asked for"
    )


if __name__ == "__main__":
    main()
