"""Deployments of both patterns run by ``podman play kube``: two replicas, rolled one at a time under load.

Catalog and store are a PostgreSQL and a docker-registry of the test's own.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import yaml

from lading.deploy import REGISTRY_SECRET, Pattern
from lading.registry import Registry
from support.bundles import linear_bundle
from support.images import lading, run
from support.pods import Replica
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("containers")]

ROW = {"data": [[5.1, 3.5, 1.4, 0.2]]}


class Endpoints:
    """The endpoints of a Service: the replicas that callers are sent to, in turn."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.ready = list(replicas)
        self.seen: list[tuple[int, str]] = []
        self.failed: list[str] = []
        self._stop = threading.Event()

    @contextmanager
    def under_load(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._call) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def wait_for_answers(self, count: int) -> None:
        """Wait until callers got `count` more answers."""
        before = len(self.seen)
        wait_until(lambda: len(self.seen) >= before + count, 20, f"{count} more answers")

    def _call(self) -> None:
        turn, client = 0, httpx.Client()
        while not self._stop.is_set():
            turn += 1
            ready = list(self.ready)  # The test changes it meanwhile.
            chosen = ready[turn % len(ready)]
            try:
                answer = client.post(f"{chosen.url}/models/iris/predict", json=ROW)
                answer.raise_for_status()
                self.seen.append((chosen.number, answer.headers["x-lading-digest"]))
            except httpx.HTTPError as error:
                self.failed.append(repr(error))
            self._stop.wait(0.005)
        client.close()


@dataclass(frozen=True)
class Site:
    """A catalog and a store with two versions of iris, and how to get their manifests."""

    address: str
    runtime: str
    environ: dict[str, str]
    refs: list[str]

    def deployment(self, ref: str, pattern: Pattern) -> Any:
        """Return the Deployment that `lading deploy kubernetes` prints for a version."""
        image = self.runtime if pattern == "load" else self._built(ref)
        options = ("--pattern", pattern, "--image", image, "--secret", REGISTRY_SECRET)
        printed = lading("deploy", "kubernetes", ref, *options, environ=self.environ)
        manifests = list(yaml.safe_load_all(printed))
        return next(manifest for manifest in manifests if manifest["kind"] == "Deployment")

    def _built(self, ref: str) -> str:
        to = f"{self.address}/deployed/{ref}"
        options = ("--base", self.runtime, "--to", to, "--json")
        built = json.loads(lading("image", "build", ref, *options, environ=self.environ))
        return f"{self.address}/deployed/iris@{built['digest']}"

    def patterns(self) -> set[str]:
        """Return the patterns of the replicas in the inventory that are not gone."""
        with Registry.open(self.environ["LADING_REGISTRY"], store=self.environ["LADING_STORE"]) as registry:
            return {replica.pattern for replica in registry.fleet.replicas() if not replica.gone}


@pytest.fixture(scope="module")
def site(oci_server, runtime, podman, postgres, tmp_path_factory) -> Site:
    folder = tmp_path_factory.mktemp("deploy")
    environ = {
        "LADING_REGISTRY": postgres.database(),
        "LADING_STORE": f"oci://{oci_server.address}/deployed/models",
    }
    refs = [
        lading("push", linear_bundle(folder / f"{seed}.bundle", seed=seed).path, environ=environ).strip()
        for seed in (0, 1)
    ]
    # podman 4.3 expects only the `data` of a Secret.
    secret = folder / "secret.json"
    data = {name: base64.b64encode(value.encode()).decode() for name, value in environ.items()}
    secret.write_text(json.dumps(data))
    run("podman", "secret", "create", REGISTRY_SECRET, str(secret))
    digest = run("skopeo", "inspect", "--tls-verify=false", "--format={{.Digest}}", f"docker://{runtime}")
    pinned = f"{runtime.rpartition(':')[0]}@{digest.strip()}"
    return Site(oci_server.address, pinned, environ, refs)


def users_and_roots() -> set[str]:
    """Return the user of each server, and whether its root is read-only."""
    names = run("podman", "ps", "--format", "{{.Names}}").split()
    servers = [name for name in names if name.endswith("-server")]
    assert len(servers) == 2, names
    template = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}"
    return set(run("podman", "inspect", "--format", template, *servers).splitlines())


@pytest.fixture
def replicas(tmp_path) -> Iterator[list[Replica]]:
    pods = [Replica(tmp_path, "iris", number) for number in (1, 2)]
    yield pods
    for replica in pods:
        replica.remove()


@pytest.mark.parametrize("pattern", ["in-image", "load"])
def test_a_rollout_of_two_replicas_under_load_loses_no_request(site, pattern, replicas):
    deployments = [site.deployment(ref, pattern) for ref in site.refs]
    digests = [deployment["metadata"]["annotations"]["com.lading.digest"] for deployment in deployments]
    for replica in replicas:
        replica.play(deployments[0])
    assert users_and_roots() == {"65532:65532 true"}
    assert site.patterns() == {pattern}
    endpoints = Endpoints(replicas)
    with endpoints.under_load():
        endpoints.wait_for_answers(40)
        for replica in replicas:
            # How Kubernetes ends a pod: it leaves the endpoints, preStop's pause, SIGTERM, drain.
            endpoints.ready.remove(replica)
            endpoints.wait_for_answers(20)
            replica.down()
            replica.play(deployments[1])
            endpoints.ready.append(replica)
        endpoints.wait_for_answers(40)
    assert endpoints.failed == []
    assert set(endpoints.seen[:20]) == {(1, digests[0]), (2, digests[0])}
    assert set(endpoints.seen[-20:]) == {(1, digests[1]), (2, digests[1])}
    print(f"{pattern}: {len(endpoints.seen)} requests, none lost")
    for replica in replicas:
        replica.down()
    # Each signed off from the inventory: it was drained, not killed.
    assert site.patterns() == set()
