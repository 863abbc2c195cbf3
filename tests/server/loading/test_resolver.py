"""References that are resolved immediately, by another worker, or in a thread that retries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
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
    with Registry.open(str(tmp_path / "registry")) as registry:
        registry.push(linear_bundle(tmp_path / "iris"))
        yield registry


class FirstWorker:
    """The agreement of the worker that chooses for all."""

    def __init__(self) -> None:
        self.choice: Any = None

    def listen(self) -> None:
        pass

    def agree(self, choose: Callable[[], Any]) -> Any:
        # A choice goes over a channel as JSON.
        self.choice = msgspec.json.decode(msgspec.json.encode(choose()))
        return self.choice

    def announce(self, choice: Any) -> None:
        self.choice = choice


class OtherWorker(FirstWorker):
    """The agreement of a worker that serves what another has chosen."""

    def __init__(self, choice: Any) -> None:
        self.choice = choice

    def agree(self, choose: Callable[[], Any]) -> Any:  # noqa: ARG002 - another has chosen
        return self.choice


def keys(resolver: Resolver) -> list[tuple[str, int, str]]:
    wanted = resolver.resolve()
    assert wanted is not None
    return [version.key for version in wanted]


def test_references_and_directories_are_resolved_in_their_order(registry, tmp_path):
    directory = linear_bundle(tmp_path / "wine", name="wine")
    refs: list[Ref | Path] = [directory.path, Ref("iris", version=1)]
    digest = registry.resolve("iris:1").digest
    assert keys(Resolver(refs, registry.where)) == [("wine", 0, directory.digest), ("iris", 1, digest)]


def test_every_worker_serves_what_the_first_has_chosen_though_a_tag_moves_meanwhile(registry, tmp_path):
    registry.tag("iris:1", "best")
    refs: list[Ref | Path] = [Ref("iris", tag="best"), tmp_path / "iris"]
    first = FirstWorker()
    chosen = keys(Resolver(refs, registry.where, first))
    registry.push(linear_bundle(tmp_path / "second", seed=2))
    registry.tag("iris:2", "best")
    assert keys(Resolver(refs, registry.where, OtherWorker(first.choice))) == chosen
    assert chosen[0][1] == 1


def test_a_folder_that_is_no_registry_is_not_waited_for(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryUnavailable):
        Resolver([Ref("iris", version=1)], str(tmp_path / "file")).resolve()


@pytest.mark.slow
def test_the_resolver_retries_whatever_fails_and_closes_every_registry(registry, monkeypatch, caplog):
    opened, closed, faults = [], [], [RegistryUnavailable("catalog"), KeyError("no such row"), None]
    open_registry, known, close = Registry.open, Registry.known, Registry.close

    def open_and_count(*arguments, **options):
        opened.append(open_registry(*arguments, **options))
        return opened[-1]

    def fail_at_first(self, ref):
        fault = faults.pop(0)
        if fault is not None:
            raise fault
        return known(self, ref)

    def close_and_count(self):
        closed.append(self)
        close(self)

    monkeypatch.setattr(Registry, "open", open_and_count)
    monkeypatch.setattr(Registry, "known", fail_at_first)
    monkeypatch.setattr(Registry, "close", close_and_count)
    resolver, plane = Resolver([Ref("iris", version=1)], registry.where), DataPlane()
    manager = Manager(plane, threads=1)
    manager.start()
    resolver.load(None, manager, plane)
    assert plane.readiness.not_ready_reason == CATALOG_UNREACHABLE
    wait_until(lambda: plane.models, 20, lambda: caplog.text)
    resolver.close()
    manager.close()
    assert faults == []
    assert len(opened) >= 3
    assert set(opened) == set(closed)
    assert "no such row" in caplog.text
