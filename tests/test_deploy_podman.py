"""The Deployment run for real by ``podman play kube``: two replicas, rolled one at a time under load."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from container_tools import containers
from imaging import lading, run, runtime_base
from lading.deploy import Options, workload
from lading.deploy.kubernetes import deployment
from lading.deploy.yamltext import document, plain
from lading.registry import Registry
from making import linear_bundle

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("containers")]

ROW = {"data": [[5.1, 3.5, 1.4, 0.2]]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Replica:
    """One pod of the Deployment at a port of its own."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number, self.port = folder, number, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file: Path | None = None

    def play(self, manifest: Any) -> None:
        self.file = (
            self.folder / f"{manifest['metadata']['annotations']['com.lading.version']}-{self.number}.yaml"
        )
        self.file.write_text(document(for_podman(manifest, self.number, self.port)))
        run("podman", "play", "kube", "--quiet", str(self.file))
        until = time.monotonic() + 30
        while not self.is_ready():
            assert time.monotonic() < until, run("podman", "ps", "--all")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/models/iris/health").status_code == 200
        except httpx.TransportError:
            return False

    def down(self) -> None:
        run("podman", "play", "kube", "--down", str(self.file))


def for_podman(manifest: Any, number: int, port: int) -> Any:
    """Change what podman 4.3 cannot do: two pods at one port, probes without curl in the image, emptyDir."""
    made = json.loads(json.dumps(manifest))
    made["metadata"]["name"] = f"iris-{number}"
    spec = made["spec"]["template"]["spec"]
    spec["hostNetwork"] = True
    (server,) = spec["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        del server[probe]
    settings = {
        "LADING_HOST": "127.0.0.1",
        "LADING_PORT": str(port),
        "LADING_GRPC_PORT": "0",
        "LADING_DRAIN_DELAY_S": "1",
    }
    for one in server["env"]:
        one["value"] = settings.get(one["name"], one["value"])
    # podman mounts a tmpfs at /tmp of a read-only container by itself.
    del server["volumeMounts"], spec["volumes"], server["ports"]
    return made


class Endpoints:
    """What a Service's endpoints are: the replicas that callers are sent to, in turn."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.ready = list(replicas)
        self.seen: list[tuple[int, str]] = []
        self.failed: list[str] = []
        self._stop = threading.Event()

    @contextmanager
    def under_load(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._call) for _ in range(3)]
        for one in threads:
            one.start()
        try:
            yield
        finally:
            self._stop.set()
            for one in threads:
                one.join()

    def _call(self) -> None:
        turn, client = 0, httpx.Client()
        while not self._stop.is_set():
            turn += 1
            chosen = self.ready[turn % len(self.ready)]
            try:
                answer = client.post(f"{chosen.url}/models/iris/predict", json=ROW)
                answer.raise_for_status()
                self.seen.append((chosen.number, answer.headers["x-lading-digest"]))
            except httpx.HTTPError as error:
                self.failed.append(repr(error))
            time.sleep(0.005)
        client.close()


@pytest.fixture(scope="module")
def deployments(oci_server, tmp_path_factory) -> Iterator[list[Any]]:
    """The Deployments of two versions of iris, each of an image built and pushed without an engine."""
    folder = tmp_path_factory.mktemp("deploy")
    url = str(folder / "registry")
    found = []
    with containers(folder / "containers", oci_server.address), Registry.open(url) as registry:
        for seed in (0, 1):
            version = registry.push(linear_bundle(folder / f"{seed}.bundle", seed=seed))
            to = f"{oci_server.address}/deployed/iris:{version.version}"
            built = json.loads(
                lading(
                    "image",
                    "build",
                    version.ref,
                    "--base",
                    runtime_base(),
                    "--to",
                    to,
                    "--json",
                    "--registry",
                    url,
                )
            )
            image = f"{oci_server.address}/deployed/iris@{built['digest']}"
            found.append(plain(deployment(workload(version, Options(pattern="in-image", image=image), []))))
        yield found


def guards() -> set[str]:
    """Tell as whom the servers run, and whether their root is read-only."""
    names = run("podman", "ps", "--format", "{{.Names}}").split()
    servers = [name for name in names if name.endswith("-server")]
    assert len(servers) == 2, names
    shown = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}"
    return set(run("podman", "inspect", "--format", shown, *servers).splitlines())


def test_two_replicas_roll_one_at_a_time_under_load_and_lose_no_request(deployments, tmp_path):
    first, second = deployments
    replicas = [Replica(tmp_path, number) for number in (1, 2)]
    for one in replicas:
        one.play(first)
    assert guards() == {"65532:65532 true"}
    endpoints = Endpoints(replicas)
    with endpoints.under_load():
        time.sleep(0.5)
        for one in replicas:
            # The order of a pod's end in Kubernetes: out of the endpoints, preStop's pause, SIGTERM, drain.
            endpoints.ready.remove(one)
            time.sleep(0.3)
            one.down()
            one.play(second)
            endpoints.ready.append(one)
        time.sleep(0.5)
    assert endpoints.failed == []
    digests = [one["metadata"]["annotations"]["com.lading.digest"] for one in deployments]
    assert set(endpoints.seen[:20]) == {(1, digests[0]), (2, digests[0])}
    assert set(endpoints.seen[-20:]) == {(1, digests[1]), (2, digests[1])}
    print(f"{len(endpoints.seen)} requests, none lost")
    for one in replicas:
        one.down()
