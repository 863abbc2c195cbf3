"""A server of one model in a folder, under a trust policy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lading.registry.beside import read_beside
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import State
from lading.server.loading.manager import Manager
from lading.server.loading.policy import Wanted
from lading.server.loading.trust import load_gate
from lading.server.loading.trust_watch import watching
from lading.server.metrics import Metrics
from lading.server.metrics.page import lading_families, page
from support.waiting import wait_until


@contextlib.contextmanager
def serving(bundle, policy) -> Iterator[DataPlane]:
    plane, gate = DataPlane(), load_gate(str(policy))
    plane.trust = gate.facts
    attested = lambda: read_beside(bundle.path)  # noqa: E731
    wanted = Wanted("iris", 1, bundle.digest, lambda: bundle, attested=attested)
    manager = Manager(plane, threads=1, gate=gate)
    manager.want([wanted])
    manager.start()
    try:
        with watching(gate, manager, every_s=0.02):
            yield plane
    finally:
        manager.close()


def state(plane: DataPlane) -> State | None:
    return plane.find("iris").state if "iris" in plane.models else None


def until(plane: DataPlane, wanted: State) -> None:
    wait_until(lambda: state(plane) is wanted, 10.0, lambda: plane.find("iris").reason)


def metrics(plane: DataPlane) -> str:
    return page(Metrics(plane).summary(), [lading_families]).decode()
