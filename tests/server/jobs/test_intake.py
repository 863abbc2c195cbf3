"""Jobs that arrive at the same time share a transaction."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lading.errors import RegistryUnavailable
from lading.jobs import Submission
from lading.registry import Registry
from lading.server.jobs.intake import Intake
from support.waiting import wait_until


def submission(number: int) -> Submission:
    return Submission(
        id=f"{number}", name="iris", target="iris", path="/p", headers={}, body=b"", fingerprint="f"
    )


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path)) as registry:
        yield registry


def test_what_arrives_during_a_transaction_shares_the_next(registry, monkeypatch):
    rows, sizes = registry.jobs, []
    entered, go, add = threading.Event(), threading.Event(), rows.add

    def slow(submissions, **options):
        sizes.append(len(submissions))
        entered.set()
        go.wait(60)
        return add(submissions, **options)

    monkeypatch.setattr(rows, "add", slow)
    intake = Intake(rows, 100)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(intake.store, submission(0))
        entered.wait(60)
        others = [pool.submit(intake.store, submission(at)) for at in range(1, 8)]
        wait_until(lambda: intake.waiting == 7)
        go.set()
        assert [stored.result(60).id for stored in (first, *others)] == [str(at) for at in range(8)]
    assert sizes == [1, 7]


def test_an_error_reaches_each_that_waits_and_the_next_is_stored(registry, monkeypatch):
    intake, rows = Intake(registry.jobs, 100), registry.jobs
    with monkeypatch.context() as patched:

        def fail(*_arguments, **_options):
            raise RegistryUnavailable("catalog", expected="an answer", found="none")

        patched.setattr(rows, "add", fail)
        with pytest.raises(RegistryUnavailable):
            intake.store(submission(1))
    assert intake.store(submission(2)).id == "2"
