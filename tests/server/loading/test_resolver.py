"""What references name: found out at once, or asked for again until somebody knows."""

from __future__ import annotations

import pytest

from lading.errors import RegistryUnavailable
from lading.ref import Ref
from lading.registry import Registry
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.readiness import CATALOG_UNREACHABLE
from lading.server.loading.manager import Manager
from lading.server.loading.resolver import Resolver
from support.bundles import linear_bundle
from support.waiting import wait_until


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as one:
        one.push(linear_bundle(tmp_path / "iris"))
        yield one


def test_a_folder_that_is_no_registry_is_not_waited_for(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryUnavailable):
        Resolver([Ref("iris", version=1)], str(tmp_path / "file")).names()


def test_whatever_fails_while_it_waits_it_goes_on_asking_and_lets_go_of_the_registry(
    registry, monkeypatch, caplog
):
    opened, closed, faults = [], [], [RegistryUnavailable("catalog"), KeyError("no such row"), None]
    open_it, known, close = Registry.open, Registry.known, Registry.close

    def counted(*given, **named):
        opened.append(open_it(*given, **named))
        return opened[-1]

    def fails(self, ref):
        fault = faults.pop(0)
        if fault is not None:
            raise fault
        return known(self, ref)

    def let_go(self):
        closed.append(self)
        close(self)

    monkeypatch.setattr(Registry, "open", counted)
    monkeypatch.setattr(Registry, "known", fails)
    monkeypatch.setattr(Registry, "close", let_go)
    naming, plane = Resolver([Ref("iris", version=1)], registry.where), DataPlane()
    manager = Manager(plane, threads=1)
    manager.start()
    naming.load(None, manager, plane)
    assert plane.readiness.not_ready_reason == CATALOG_UNREACHABLE
    wait_until(lambda: plane.models, 20, lambda: caplog.text)
    naming.stop()
    manager.drain("done")
    manager.close()
    assert faults == []
    assert len(opened) >= 3
    assert set(opened) == set(closed)
    assert "no such row" in caplog.text
