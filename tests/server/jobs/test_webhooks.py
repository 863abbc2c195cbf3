"""Webhooks over real connections: signed, sent again until they are taken, and to nobody else."""

from __future__ import annotations

import base64
import socket
import threading

import pytest

from lading.jobs import Claim, Outcome, Submission
from lading.registry import Registry
from lading.server.jobs import webhooks as module
from lading.server.jobs.hook_rules import HookRules
from lading.server.jobs.webhooks import Webhooks
from lading.server.metrics.jobs import JobCounts, job_status
from lading.server.metrics.shared_memory import PrivateCounters
from lading.settings import ServeSettings
from support.job_replicas import Receiver
from support.ports import free_port
from support.waiting import wait_until

SECRET = bytes(range(32))


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as registry:
        yield registry


@pytest.fixture
def receiver():
    receiver = Receiver(SECRET, refuse_one_in=1)
    yield receiver
    receiver.close()


@pytest.fixture
def deliver(registry, tmp_path, monkeypatch):
    """Return a function that delivers what is due in a thread, with hosts that are allowed; it counts."""
    (tmp_path / "secret").write_text(f"whsec_{base64.b64encode(SECRET).decode()}")
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(module, "POLL_S", 0.02)
    store, running = PrivateCounters(1), []

    def start(hosts: str = "127.0.0.1,localhost") -> PrivateCounters:
        settings = ServeSettings(job_webhook_secret_file=str(tmp_path / "secret"), job_webhook_hosts=hosts)
        delivering = Webhooks(registry, HookRules(settings), JobCounts(store))
        thread = threading.Thread(target=delivering.run)
        thread.start()
        running.append((delivering, thread))
        return store

    yield start
    for delivering, thread in running:
        delivering.stop()
        thread.join(30)


def ended_job(registry: Registry, url: str, job_id: str = "0a") -> str:
    """Store a job that has ended, with a webhook."""
    submission = Submission(
        id=job_id, name="iris", target="iris", path="/p", headers={}, body=b"", fingerprint="f", webhook=url
    )
    registry.jobs.submit(submission, most_waiting=9)
    claims: list[Claim] = registry.jobs.claim(["iris"], 9, token="t", replica="r", ttl_s=30)
    registry.jobs.finish([Outcome(id=claim.id, token="t", state="failed", reason="no") for claim in claims])
    return job_id


def hook_of(registry: Registry, job_id: str) -> str:
    return registry.jobs.get(job_id).hook


def test_a_webhook_that_was_refused_is_sent_again_with_its_id_and_a_signature(registry, receiver, deliver):
    store = deliver()
    job_id = ended_job(registry, receiver.url)
    wait_until(lambda: hook_of(registry, job_id) == "delivered")
    assert receiver.refused == {job_id: 1}
    assert receiver.delivered == {job_id: 1}
    assert receiver.wrong == []
    message = receiver.bodies[job_id]
    assert message["type"] == "job.failed"
    assert message["timestamp"].endswith("Z")
    assert message["data"] == {
        "id": job_id,
        "model": "iris",
        "state": "failed",
        "status": 0,
        "reason": "no",
        "job": f"/jobs/{job_id}",
        "result": f"/jobs/{job_id}/result",
    }
    assert job_status(store.workers(), {}).webhooks == {}
    # Counted once it is stored that it arrived.
    wait_until(lambda: store.counters(("job_webhooks", "delivered"), 1)[0] == 1)
    assert store.counters(("job_webhooks", "failed"), 1)[0] == 1
    assert registry.jobs.get(job_id).hook_text == "status 204"


@pytest.mark.slow
def test_a_receiver_that_does_not_answer_holds_up_no_other(registry, deliver):
    quick = Receiver(SECRET, refuse_one_in=2**32 + 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Its connections are accepted by the kernel, and nobody reads what comes.
        slow = ended_job(registry, f"http://127.0.0.1:{silent.getsockname()[1]}/", "1a")
        deliver()
        wait_until(lambda: registry.jobs.get(slow).hook_attempts)
        ids = [ended_job(registry, quick.url, f"2{number:x}") for number in range(40)]
        wait_until(lambda: all(hook_of(registry, job_id) == "delivered" for job_id in ids))
        # Still the first attempt, whose result has not come yet.
        record = registry.jobs.get(slow)
        assert (record.hook_attempts, record.hook_text) == (1, "")
    assert quick.delivered == dict.fromkeys(ids, 1)
    quick.close()


def test_a_receiver_that_does_not_answer_is_given_up_after_all_attempts(
    registry, deliver, monkeypatch, caplog
):
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 3)
    job_id = ended_job(registry, f"http://127.0.0.1:{free_port()}/")
    deliver()
    wait_until(lambda: hook_of(registry, job_id) == "given_up")
    record = registry.jobs.get(job_id)
    assert record.hook_attempts == 3
    assert "ConnectError" in record.hook_text
    wait_until(lambda: f"the webhook of job {job_id} is given up" in caplog.text)


def test_a_host_that_is_not_allowed_any_more_is_not_asked(registry, receiver, deliver, monkeypatch):
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 2)
    job_id = ended_job(registry, receiver.url)
    deliver("hooks.example.com")
    wait_until(lambda: hook_of(registry, job_id) == "given_up")
    assert not receiver.refused
    assert "expected a host that is allowed" in registry.jobs.get(job_id).hook_text


def test_a_name_that_resolves_to_this_machine_is_not_connected_to(registry, receiver, deliver, monkeypatch):
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 1)
    job_id = ended_job(registry, receiver.url.replace("http://127.0.0.1", "https://localhost"))
    deliver("")
    wait_until(lambda: hook_of(registry, job_id) == "given_up")
    assert "which is not allowed" in registry.jobs.get(job_id).hook_text
