"""The queue of jobs in both catalogs: order, claims, results that are written once, webhooks, pruning."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from sqlalchemy import event

from lading.errors import JobEnded, JobKeyReused, JobNotFound, QueueFull
from lading.jobs import Answer, AnsweredBy, HookResult, Outcome, Requeued, Submission, Wanted
from lading.registry import Registry
from support.registries import registry_over


def submission(number: int, **changes: Any) -> Submission:
    values = {
        "id": f"job-{number}",
        "name": "iris",
        "target": "iris",
        "path": "/models/iris/predict",
        "headers": {"content-type": "application/json"},
        "body": b'{"data": [[1, 2, 3, 4]]}',
        "fingerprint": "f",
        **changes,
    }
    return Submission(**values)


ANSWER = Answer(
    status=200,
    content_type="application/json",
    body=b'{"prediction":[[0.1]]}',
    served=AnsweredBy(model="iris", version=3, digest="sha256:3", side="live"),
    headers=(("x-lading-model", "iris:3"),),
)


@pytest.fixture
def registry(catalog) -> Registry:
    return registry_over(catalog)


def submit(registry: Registry, *submissions: Submission) -> None:
    for new in submissions:
        registry.jobs.submit(new, most_waiting=100)


def claim(registry: Registry, limit: int = 10, token: str = "t", ttl_s: float = 30, target: str = "iris"):
    return registry.jobs.claim([target], limit, token=token, replica="r", ttl_s=ttl_s)


def done(job_id: str, token: str = "t") -> Outcome:
    return Outcome(id=job_id, token=token, state="done", answer=ANSWER)


def test_jobs_are_claimed_by_priority_and_then_by_age(registry):
    submit(registry, *(submission(at, priority=at % 3 - 1) for at in range(6)))
    claims = [*claim(registry, 4, "a"), *claim(registry, 4, "b")]
    assert [claimed.id for claimed in claims] == ["job-2", "job-5", "job-1", "job-4", "job-0", "job-3"]
    assert claims[0].body == submission(2).body
    assert claims[0].headers == {"content-type": "application/json"}
    assert {claimed.attempts for claimed in claims} == {1}
    assert claim(registry) == []


def test_a_job_is_claimed_only_for_what_is_loaded(registry):
    submit(registry, submission(1, target="iris/versions/2"))
    assert claim(registry) == []
    assert [claimed.id for claimed in claim(registry, target="iris/versions/2")] == ["job-1"]
    assert registry.jobs.claim([], 10, token="t", replica="r", ttl_s=1) == []


@pytest.mark.slow
def test_many_that_claim_at_the_same_moment_share_no_job(registry, open_catalog):
    submit(registry, *(submission(at) for at in range(60)))
    others = [registry_over(open_catalog()) for _ in range(4)]
    begin = threading.Barrier(4)

    def take(number: int) -> list[str]:
        begin.wait(30)
        taken = []
        while claims := claim(others[number], 3, f"t{number}-{len(taken)}"):
            taken += [claimed.id for claimed in claims]
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [job for part in pool.map(take, range(4)) for job in part]
    assert sorted(taken) == sorted(f"job-{at}" for at in range(60))


def test_a_result_is_stored_once_and_only_by_the_claim_that_holds(registry):
    submit(registry, submission(1))
    claim(registry, token="old", ttl_s=-1)
    assert registry.jobs.recover(30, 3) == []
    assert claim(registry, token="new")[0].attempts == 2
    assert registry.jobs.finish([done("job-1", "old")]) == set()
    assert registry.jobs.get("job-1").state == "running"
    assert registry.jobs.answer("job-1") is None
    assert registry.jobs.finish([done("job-1", "new")]) == {"job-1"}
    assert registry.jobs.finish([done("job-1", "new")]) == set()
    record = registry.jobs.get("job-1")
    assert (record.state, record.status, record.served) == ("done", 200, ANSWER.served)
    assert record.created_at <= record.started_at <= record.ended_at
    assert registry.jobs.answer("job-1") == ANSWER


def test_what_has_ended_is_stored_and_what_is_next_claimed_in_one_transaction(registry):
    submit(registry, *map(submission, range(40)))
    claim(registry, 16)
    lost, back = done("job-0", "old"), Requeued(id="job-1", token="t", reason="busy", after_s=60)
    outcomes = [lost, *(done(f"job-{number}") for number in range(2, 16))]
    commits = []
    event.listen(registry.catalog.database.engine, "commit", commits.append)
    wanted = Wanted(targets=("iris",), limit=16, token="u", replica="r", ttl_s=30)
    written, claims = registry.jobs.exchange(outcomes, [back], wanted)
    assert len(commits) == 1
    assert written == {f"job-{number}" for number in range(2, 16)}
    assert [claimed.id for claimed in claims] == [f"job-{number}" for number in range(16, 32)]
    assert not any(claimed.has_webhook for claimed in claims)
    states = Counter(record.state for record in registry.jobs.find())
    # The job of the lost report runs on, under its own claim.
    assert states == {"done": 14, "running": 17, "waiting": 9}
    assert {registry.jobs.answer(f"job-{number}") for number in range(2, 16)} == {ANSWER}
    assert registry.jobs.exchange((), (), msgspec.structs.replace(wanted, limit=0)) == (set(), [])


def test_jobs_that_come_together_are_stored_together_and_in_order(registry):
    submit(registry, submission(0, key="k"))
    others = [submission(number) for number in range(1, 6)]
    same = [submission(6, key="k"), submission(7, key="new"), submission(8, key="new")]
    records = registry.jobs.add([*others, *same], most_waiting=7)
    assert [record.id if record else None for record in records] == [
        *(f"job-{number}" for number in range(1, 6)),
        *("job-0", "job-7", "job-7"),
    ]
    assert registry.jobs.add([submission(9), submission(10, key="k")], most_waiting=7) == [
        None,
        registry.jobs.get("job-0"),
    ]
    numbers = [registry.jobs.get(f"job-{number}").number for number in range(1, 6)]
    assert numbers == sorted(numbers)


def test_a_claim_that_is_renewed_is_taken_by_nobody(registry):
    submit(registry, submission(1), submission(2))
    claim(registry, 1, "a", ttl_s=-1)
    claim(registry, 1, "b")
    assert registry.jobs.renew([("job-1", "a"), ("job-2", "a")], 30) == {"job-1"}
    assert registry.jobs.recover(30, 3) == []
    assert claim(registry) == []
    assert registry.jobs.renew([], 30) == set()


def test_a_job_that_ends_its_servers_fails_after_some_attempts_with_that_sentence(registry):
    submit(registry, submission(1, webhook="https://example.com"))
    for _ in range(2):
        assert claim(registry, ttl_s=-1)
        registry.jobs.recover(30, 3)
        assert registry.jobs.get("job-1").state == "waiting"
    assert claim(registry, ttl_s=-1)
    assert registry.jobs.recover(30, 3) == ["job-1"]
    record = registry.jobs.get("job-1")
    assert (record.state, record.hook) == ("failed", "due")
    assert "begun 3 times, and each time the server that ran it ended" in record.reason
    assert claim(registry) == []


def test_a_job_that_is_given_back_keeps_its_place_and_its_attempts(registry):
    submit(registry, submission(1), submission(2))
    claim(registry, 1)
    back = Requeued(id="job-1", token="t", reason="its server drained")
    registry.jobs.requeue([msgspec.structs.replace(back, token="another")])
    assert registry.jobs.get("job-1").state == "running"
    registry.jobs.requeue([back])
    record = registry.jobs.get("job-1")
    assert (record.state, record.attempts, record.reason) == ("waiting", 0, "its server drained")
    assert [claimed.id for claimed in claim(registry, token="b")] == ["job-1", "job-2"]
    registry.jobs.requeue([Requeued(id="job-1", token="b", reason="busy", after_s=60, counts=True)])
    assert registry.jobs.get("job-1").attempts == 1
    assert claim(registry) == []
    registry.jobs.requeue([])


def test_the_same_key_is_the_same_job(registry, open_catalog):
    jobs = registry.jobs
    first = jobs.submit(submission(1, key="k"), most_waiting=100)
    assert jobs.submit(submission(2, key="k"), most_waiting=100) == first
    assert jobs.submit(submission(3, key="k", name="wine"), most_waiting=100).id == "job-3"
    with pytest.raises(JobKeyReused, match="expected the request of job `job-1`, which has this key"):
        jobs.submit(submission(4, key="k", fingerprint="g"), most_waiting=100)
    # Of those that come at the same moment, one is stored.
    others = [registry_over(open_catalog()) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        records = pool.map(
            lambda at: others[at].jobs.submit(submission(10 + at, key="same"), most_waiting=100), range(4)
        )
    assert len({record.id for record in records}) == 1


def test_a_queue_that_is_full_refuses_and_takes_what_it_knows(registry):
    registry.jobs.submit(submission(1, key="k"), most_waiting=2)
    added = registry.jobs.add([submission(2), submission(3)], most_waiting=2)
    assert [record.id if record is not None else None for record in added] == ["job-2", None]
    with pytest.raises(QueueFull, match="expected at most 2 that wait") as caught:
        registry.jobs.submit(submission(4), most_waiting=2)
    assert caught.value.retry_after_s > 0
    assert registry.jobs.submit(submission(5, key="k"), most_waiting=2).id == "job-1"
    assert registry.jobs.submit(submission(6, name="wine"), most_waiting=2).id == "job-6"


def test_a_job_is_cancelled_while_it_waits_or_runs_and_not_afterwards(registry):
    submit(registry, *(submission(at) for at in (1, 2, 3)))
    assert registry.jobs.cancel("job-1").state == "cancelled"
    assert registry.jobs.cancel("job-1").state == "cancelled"
    assert [claimed.id for claimed in claim(registry)] == ["job-2", "job-3"]
    assert registry.jobs.cancel("job-2").state == "cancelled"
    assert registry.jobs.renew([("job-2", "t"), ("job-3", "t")], 30) == {"job-3"}
    assert registry.jobs.finish([done("job-2"), done("job-3")]) == {"job-3"}
    with pytest.raises(JobEnded, match="expected one that waits or runs, found one that is done"):
        registry.jobs.cancel("job-3")
    for act in (registry.jobs.cancel, registry.jobs.get):
        with pytest.raises(JobNotFound, match="job `nothing`"):
            act("nothing")


def test_jobs_are_listed_newest_first_page_by_page(registry):
    submit(registry, *(submission(at) for at in range(5)), submission(9, name="wine", target="wine"))
    claim(registry, 1)
    registry.jobs.finish([done("job-0")])
    listed = registry.jobs.find("iris", limit=2)
    assert [record.id for record in listed] == ["job-4", "job-3"]
    listed = registry.jobs.find("iris", before=listed[-1].number)
    assert [record.id for record in listed] == ["job-2", "job-1", "job-0"]
    assert [record.id for record in registry.jobs.find(state="done")] == ["job-0"]
    assert len(registry.jobs.find()) == 6
    claim(registry, 1)
    depths = {depth.name: (depth.waiting, depth.running) for depth in registry.jobs.depths()}
    assert depths == {"iris": (3, 1), "wine": (1, 0)}
    assert registry.jobs.depths()[0].oldest_s >= 0


def test_a_webhook_is_due_until_it_is_delivered_or_given_up(registry):
    submit(registry, submission(1, webhook="https://example.com/a"), submission(2))
    assert registry.jobs.exchange_webhooks([], 10, 30) == []
    claim(registry)
    registry.jobs.finish([done("job-1"), done("job-2")])
    # One whose sender was killed is due again when its time is over.
    (call,) = registry.jobs.exchange_webhooks([], 10, -1)
    assert (call.job.id, call.attempts, call.job.webhook) == ("job-1", 1, "https://example.com/a")
    (call,) = registry.jobs.exchange_webhooks([], 10, 30)
    assert call.attempts == 2
    assert registry.jobs.exchange_webhooks([], 10, 30) == []
    late = HookResult(id="job-1", attempts=1, delivered=False, text="late", again_s=0)
    registry.jobs.exchange_webhooks([late], 0, 30)
    assert registry.jobs.exchange_webhooks([], 10, 30) == []
    # Stored and taken again in one transaction.
    refused = HookResult(id="job-1", attempts=2, delivered=False, text="503", again_s=0)
    assert registry.jobs.exchange_webhooks([refused], 10, 30)[0].attempts == 3
    registry.jobs.exchange_webhooks([HookResult(id="job-1", attempts=3, delivered=True, text="204")], 0, 30)
    record = registry.jobs.get("job-1")
    assert (record.hook, record.hook_attempts, record.hook_text) == ("delivered", 3, "204")
    assert registry.jobs.exchange_webhooks([], 10, -1) == []
    assert registry.jobs.exchange_webhooks([], 0, 30) == []


def test_jobs_that_ended_long_ago_are_pruned_with_their_results(registry, monkeypatch):
    submit(registry, submission(1, key="k"), submission(2, webhook="https://example.com"), submission(3))
    claim(registry, 2)
    registry.jobs.finish([done("job-1"), done("job-2")])
    assert registry.jobs.prune(dry_run=False) == []
    monkeypatch.setenv("LADING_JOBS_KEPT_HOURS", "0")
    (removed,) = registry.jobs.prune(dry_run=True)
    assert (removed.name, removed.size_bytes) == ("1 jobs", len(ANSWER.body))
    registry.jobs.prune(dry_run=False)
    # What nobody was sent word of stays, and what waits; the key is free again.
    assert [record.id for record in registry.jobs.find()] == ["job-3", "job-2"]
    assert registry.jobs.submit(submission(4, key="k"), most_waiting=100).id == "job-4"
    registry.jobs.exchange_webhooks([HookResult(id="job-2", attempts=0, delivered=False, text="410")], 0, 30)
    assert registry.jobs.get("job-2").hook == "given_up"
    registry.jobs.prune(dry_run=False)
    assert [record.id for record in registry.jobs.find()] == ["job-4", "job-3"]


def test_a_body_is_not_kept_longer_than_it_is_needed(registry):
    submit(registry, submission(1))
    claim(registry, ttl_s=-1)
    registry.jobs.finish([done("job-1")])
    with registry.catalog.database.transaction("read") as connection:
        (body,) = connection.exec_driver_sql("SELECT body FROM jobs").one()
    assert bytes(body) == b""


def test_texts_that_no_database_keeps_are_stored_as_far_as_they_can_be(registry):
    submit(registry, submission(1))
    claim(registry)
    failed = Outcome(id="job-1", token="t", state="failed", reason="found `a\0b\ud800`")
    assert registry.jobs.finish([failed]) == {"job-1"}
    assert registry.jobs.get("job-1").reason == "found `a\ufffdb?`"
    for act in (registry.jobs.get, registry.jobs.cancel):
        with pytest.raises(JobNotFound):
            act("a\0b\ud800")
    assert registry.jobs.answer("a\0b") is None
