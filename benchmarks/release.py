"""What a new version costs by both release patterns, beside Dockerfiles, on this machine.

Whole commands against a docker-registry on this machine, with every byte counted on its way; hosts are
podman with a storage of its own, emptied where it says so. `release_ways` says what is run. ``--write`` puts
tables, chart and advice into docs/benchmarks-release.md.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Behind: `load` is here and there.
sys.path.append(str(ROOT / "tests"))

import release_page  # noqa: E402
from lading.bundle import Bundle  # noqa: E402
from lading.image.bundle_layers import from_bundle  # noqa: E402
from meter import Meter, metered  # noqa: E402
from release_page import Cost, Results, Stage  # noqa: E402
from release_ways import (  # noqa: E402
    HARDENED,
    Dockerfile,
    ImageBuild,
    Load,
    Model,
    Way,
    WholeDockerfile,
    Yard,
    builder,
    fill,
    forget,
)
from support.bundles import linear_bundle  # noqa: E402
from support.containers import containers  # noqa: E402
from support.images import run  # noqa: E402
from support.store_servers import docker_registry  # noqa: E402

SIZES = {"1 MB": (1024, 256), "200 MB": (25_000, 2_000)}
LARGE_ROUNDS = 2
LEAST_ROUNDS = {"1 MB": 3, "200 MB": 1}
SECONDS = 270
"""When no more rounds begin than the least."""


def main() -> int:
    """Measure everything; 1 if a budget is missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="lading-release-"))
    keep_bytecode(folder)
    server = docker_registry(folder / "registry")
    results = Results(load=os.getloadavg()[0])
    try:
        with metered(server.address) as meter, containers(folder / "containers", meter.address):
            yard = Yard(folder, meter.address)
            fill(yard)
            for number, size in enumerate(chosen.sizes, 1):
                until = began + SECONDS * number / len(chosen.sizes)
                Study(yard, meter, results, size, chosen.rounds).run(until)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(release_page.tables(results))
    say(f"{time.monotonic() - began:.0f} s in all")
    if chosen.write:
        release_page.write(results)
    return judge(results)


def judge(results: Results) -> int:
    """Print the budgets and return the exit code: 1 if one is missed. They are of the small model alone."""
    if release_page.SMALL not in results.sizes:
        say(f"no budgets without the model of {release_page.SMALL}")
        return 0
    budgets = release_page.budgets(results)
    print(release_page.table(budgets))
    return 0 if all(budget.met for budget in budgets) else 1


def keep_bytecode(folder: Path) -> None:
    """Let Python keep what it compiled, as it does where lading is installed by pip."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")


class Study:
    """One size of model, published and started by every way."""

    def __init__(self, yard: Yard, meter: Meter, results: Results, size: str, rounds: int) -> None:
        self._yard, self._meter, self._size = yard, meter, size
        self._rounds = rounds if size == "1 MB" else min(rounds, LARGE_ROUNDS)
        self._found: dict[tuple[str, Stage], list[Cost]] = defaultdict(list)
        self._results = results
        self._model = self._made()
        kinds = (ImageBuild, Dockerfile, WholeDockerfile, Load)
        self._ways: list[Way] = [kind(yard, self._model) for kind in kinds]
        self._pods = 0

    def run(self, until: float) -> None:
        """Publish version after version by all ways, then start them; after `until` no round begins."""
        builder(self._yard)
        for at in range(self._rounds + 1):
            for way in self._ways:
                # The whole Dockerfile takes long and finds nothing old: two are enough.
                if at < 2 or not isinstance(way, WholeDockerfile):
                    self._publish(way, at)
        self._both_patterns()
        pods = {way: self._cold(way) for way in self._ways}
        for way, pod in pods.items():
            self._bring(way, 0, pod)
        for turn in range(self._rounds):
            if turn >= LEAST_ROUNDS[self._size] and time.monotonic() > until:
                say(f"{self._size:>6}  only {turn} of {self._rounds} rounds: this machine is slow now")
                break
            for way, pod in pods.items():
                self._turn(way, pod)
        for (way_name, stage), costs in self._found.items():
            self._results.costs[self._size, way_name, stage] = costs

    def _made(self) -> Model:
        features, classes = SIZES[self._size]
        folder = self._yard.folder / self._size
        folder.mkdir()
        shape = {"features": features, "classes": classes, "labels": False, "rows": 2}
        bundles = [
            linear_bundle(folder / str(at), "mega", seed=at, **shape).path for at in range(self._rounds + 1)
        ]
        self._results.layers[self._size] = from_bundle(Bundle.open(bundles[0])).size_bytes
        return Model(self._size, features, bundles)

    def _publish(self, way: Way, at: int) -> None:
        """Build and push. The first is not counted, for a new version finds an old one in the registry."""
        if isinstance(way, Dockerfile):
            way.ready(at)
        built = self._cost(lambda: way.build(at))
        pushed = self._cost(lambda: way.push(at))
        # To the whole Dockerfile nothing is old.
        if at or isinstance(way, WholeDockerfile):
            if way.builds:
                self._note(way, Stage.BUILD, built)
                self._note(way, Stage.PUSH, pushed)
            self._note(way, Stage.PUBLISH, built + pushed)

    def _both_patterns(self) -> None:
        """Make images of versions that the store has; and one image twice, for its digest."""
        image, load = self._ways[0], self._ways[-1]
        assert isinstance(image, ImageBuild)
        assert isinstance(load, Load)
        for at in range(self._rounds + 1):
            cost = self._cost(lambda at=at: load.image_of(at, f"both-{self._model.features}"))
            if at:
                self._note(image, Stage.FROM_STORE, cost)
        self._results.digests[self._size] = {image.push(0).strip() for _ in range(3)}

    def _cold(self, way: Way) -> Path:
        """Bring the first version to a host that has nothing, and once more."""
        forget()
        pod = self._pod()
        self._note(way, Stage.COLD, self._cost(lambda: self._bring(way, 0, pod)))
        self._note(way, Stage.WARM, self._cost(lambda: self._bring(way, 0, pod)))
        return pod

    def _turn(self, way: Way, pod: Path) -> None:
        """Start the old version twice, then the new one, which the host gets now and loses again."""
        other, new = self._pod(), self._pod()
        with contextlib.ExitStack() as running:
            self._note(way, Stage.FIRST, self._started(way.serve(0, pod), running))
            fetched = self._cost(lambda: way.fetch(0, other))
            self._note(way, Stage.SECOND, fetched + self._started(way.serve(0, other), running))
        brought = self._cost(lambda: self._bring(way, 1, new))
        self._note(way, Stage.NEW, brought)
        with contextlib.ExitStack() as running:
            self._note(way, Stage.NEW_FIRST, brought + self._started(way.serve(1, new), running))
        way.drop(1, new)
        if isinstance(way, Load):
            way.drop(0, other)
            self._shared(way)

    def _shared(self, way: Load) -> None:
        """Start it twice where replicas share a cache on the host; the first fills it."""
        cache = self._pod()
        cache.mkdir()
        with contextlib.ExitStack() as running:
            self._started(way.serve_cached(0, cache), running)
            self._note(way, Stage.SHARED, self._started(way.serve_cached(0, cache), running))
        shutil.rmtree(cache)

    def _bring(self, way: Way, at: int, pod: Path) -> None:
        way.pull(at)
        way.fetch(at, pod)

    def _started(self, what: list[str], running: contextlib.ExitStack) -> Cost:
        """Start a container, until it answers a prediction; it ends with `running`."""
        return self._cost(lambda: running.enter_context(container(what, self._model.features)))

    def _cost(self, act: Callable[[], object]) -> Cost:
        up, down, began = self._meter.up, self._meter.down, time.monotonic()
        act()
        return Cost(time.monotonic() - began, self._meter.up - up, self._meter.down - down)

    def _note(self, way: Way, stage: Stage, cost: Cost) -> None:
        self._found[way.name, stage].append(cost)
        say(f"{self._size:>6}  {way.name:38} {stage.value:42} {cost.seconds:6.2f} s")

    def _pod(self) -> Path:
        self._pods += 1
        return self._yard.folder / f"pod-{self._model.features}-{self._pods}"


@contextlib.contextmanager
def container(what: list[str], features: int) -> Iterator[None]:
    """Run a container on a free port; given when it has answered a prediction."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    variables = (f"--env=LADING_PORT={port}", "--env=LADING_GRPC_PORT=-1", "--env=LADING_HOST=127.0.0.1")
    identity = run("podman", "run", "--detach", *HARDENED, *variables, *what).strip()
    try:
        ask(port, features, identity)
        yield
    finally:
        # Killed: how it drains is not measured here.
        run("podman", "rm", "--force", "--time=0", identity)


def ask(port: int, features: int, identity: str) -> None:
    until = time.monotonic() + 60
    body, headers = json.dumps({"data": [[0.5] * features]}), {"content-type": "application/json"}
    while time.monotonic() < until:
        # Not httpx: making a new client takes time that would disturb the server's start.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", "/predict", body, headers)
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
        finally:
            connection.close()
    raise AssertionError(run("podman", "logs", identity))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
