"""Which trust policy servers run under is in the history of their models: each change once, without a gap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lading.inventory import describe, policy_history
from lading.registry import Registry
from lading.release.history_check import check_history
from lading.server.loading.trust import load_gate
from lading.server.process.status import Status
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.recorded_evidence import push_proved
from support.server_status import status_of
from support.signing import policy_file
from support.waiting import wait_until


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(policy_history, "TURN_S", 0.02)


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris")


@pytest.fixture
def url(bundle, tmp_path) -> str:
    url = str(tmp_path / "registry")
    with Registry.open(url) as registry:
        push_proved(registry, bundle)
        registry.release("iris:1", actor="ann")
    return url


@contextmanager
def recording(url: str, status: Status) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=policy_history.record_policies, args=(url, status, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def policies(url: str) -> list[tuple[str, str]]:
    with Registry.open(url) as registry:
        events = registry.releases.events("iris")
        check_history("iris", events, registry.releases("iris"), None)
        return [(event.from_, event.to) for event in events if event.kind == "policy"]


def test_the_start_and_each_change_are_events_of_one_server_of_many(bundle, url, tmp_path):
    policy = policy_file(tmp_path)
    gates = [load_gate(str(policy)) for _ in range(3)]
    first = gates[0].facts.digest
    statuses = [status_of(served_from(bundle), gate=gate) for gate in gates]
    assert describe(statuses[0]).trust_policy == first
    with recording(url, statuses[0]), recording(url, statuses[1]), recording(url, statuses[2]):
        wait_until(lambda: not any(gate.changes for gate in gates))
        assert policies(url) == [("", first)]
        policy.write_text(policy.read_text() + "# changed\n")
        for gate in gates:
            assert gate.reload()
            assert not gate.reload()
        wait_until(lambda: not any(gate.changes for gate in gates))
    second = gates[0].facts.digest
    assert policies(url) == [("", first), (first, second)]
    # A server that starts again under the same policy has nothing to add.
    again = load_gate(str(policy))
    with recording(url, status_of(served_from(bundle), gate=again)):
        wait_until(lambda: not again.changes)
    assert len(policies(url)) == 2


def test_a_model_that_a_server_does_not_have_is_not_concerned(bundle, url, tmp_path):
    other = linear_bundle(tmp_path / "other", name="other")
    gate = load_gate(str(policy_file(tmp_path)))
    with recording(url, status_of(served_from(other), gate=gate)):
        wait_until(lambda: not gate.changes)
    assert policies(url) == []


def test_a_server_without_a_policy_writes_nothing_and_says_none(bundle, url):
    status = status_of(served_from(bundle))
    with recording(url, status):
        pass
    assert policies(url) == []
    assert describe(status).trust_policy == "none"
