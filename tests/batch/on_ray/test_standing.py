"""Which machines of a cluster may score, by what a run has learned of them."""

from __future__ import annotations

import pytest

from lading.batch.on_ray.standing import TRIES, Standing
from lading.errors import GoldenMismatch, RunFailed


def node(name: str, cpus: float = 2, *, alive: bool = True) -> dict:
    return {"NodeID": name, "Alive": alive, "Resources": {"CPU": cpus} if cpus else {}}


NODES = [node("a"), node("b", 4), node("head", 0), node("gone", alive=False)]
WRONG = GoldenMismatch("golden samples of `iris`", expected="1", found="2")


def test_machines_that_run_and_have_cpus_may_score():
    standing = Standing()
    assert standing.usable(NODES) == {"a": 2, "b": 4}
    assert standing.selector() is None
    assert standing.refusal() is None


def test_a_refused_machine_may_not_score_and_is_left_out_by_its_label():
    standing = Standing()
    assert standing.refuse("a", "host-a", WRONG)
    assert not standing.refuse("a", "host-a", WRONG)
    assert standing.is_refused("a")
    assert standing.usable(NODES) == {"b": 4}
    assert standing.selector() == {"ray.io/node-id": "!in(a)"}
    standing.refuse("b", "host-b", WRONG)
    assert standing.selector() == {"ray.io/node-id": "!in(a,b)"}
    assert standing.usable(NODES) == {}


def test_the_last_refusal_names_its_machine_and_keeps_its_sentence():
    standing = Standing()
    standing.refuse("a", "host-a", RunFailed("other"))
    standing.refuse("b", "host-b", WRONG.with_hint("look at it"))
    refusal = standing.refusal()
    assert isinstance(refusal, GoldenMismatch)
    assert refusal.message == WRONG.message
    assert refusal.hint == "look at it; no machine of the cluster is left; this was `host-b`"


def test_a_part_that_ends_every_process_stops_the_run():
    standing = Standing()
    for _ in range(TRIES - 1):
        standing.begin("part")
        standing.lose("part", "killed")
    standing.begin("part")
    with pytest.raises(RunFailed, match="part `part`: expected a process that scores it, found 3 that ended"):
        standing.lose("part", "killed")


def test_a_try_on_a_machine_that_was_refused_does_not_count():
    standing = Standing()
    for _ in range(TRIES):
        standing.begin("part")
        standing.take_back("part")
    standing.begin("part")
    standing.lose("part", "killed")


def test_a_machine_where_processes_end_before_they_prove_themselves_is_refused():
    standing = Standing()
    reasons = [standing.lose_early("a", "host-a", "signal 11") for _ in range(TRIES)]
    assert reasons[:-1] == [None, None]
    assert "machine `host-a`: expected a process that loads the model" in str(reasons[-1])
    standing.prove("b")
    assert [standing.lose_early("b", "host-b", "signal 9") for _ in range(TRIES)] == [None] * TRIES
    assert standing.has_proved("b")


def test_processes_that_come_up_nowhere_stop_the_run():
    standing = Standing()
    for _ in range(9):
        assert standing.lose_early("", "", "ended") is None
    standing.place()
    for _ in range(9):
        assert standing.lose_early("", "", "ended") is None
    with pytest.raises(
        RunFailed, match="the Ray cluster: expected processes that start, found 10 that ended"
    ):
        standing.lose_early("", "", "ended")
