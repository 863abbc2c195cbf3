"""Release, steer, watch, roll back and tell the history."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time

import msgspec
import pytest

from lading.bundle import write_bundle
from lading.evidence import Check, Evidence, Fingerprint
from lading.registry import Registry
from lading.release import EventDraft, verify_chain
from lading.rollout import apply, promoted, rolled_back
from lading.runtime.host.fingerprint import fingerprint
from support.bundles import REQUIREMENTS, linear_draft, linear_model, linear_samples
from support.simulated_traffic import EQUAL, Crowd
from support.terminal import on_a_terminal

ELSEWHERE = Fingerprint(
    lading="0.1.0", python="3.10.1", onnxruntime="1.17.0", numpy="1.26.0", os="debian 11", arch="aarch64"
)


@pytest.fixture
def opened(filled):
    with Registry.open(str(filled)) as registry:
        yield registry


@pytest.fixture
def proved(opened):
    """A registry whose two versions were verified here, which takes a second each."""
    for ref in ("iris:1", "iris:2"):
        told_of(opened, ref, fingerprint())
    return opened


def push_forged(opened, folder) -> str:
    """Push a bundle whose golden outputs are not what its model gives."""
    samples = linear_samples(linear_model(seed=5))
    samples.outputs["probabilities"][3, 1] += 0.01
    bundle = write_bundle(
        folder, linear_draft(), model=linear_model(seed=5), samples=samples, requirements=REQUIREMENTS
    )
    return str(opened.push(bundle).ref)


def told_of(opened, ref: str, where: Fingerprint = ELSEWHERE) -> None:
    """Record evidence that a version holds, from another machine unless told otherwise."""
    version = opened.resolve(ref)
    opened.record(
        Evidence(
            bundle=version.digest,
            name=version.name,
            fingerprint=where,
            checks=(Check("golden", "passed"),),
            numbers={"latency_p99_ms": 3.0},
            measured_at="2026-11-20T08:00:00+00:00",
        )
    )


# Straight to live.


def test_a_version_is_proved_recorded_and_live(lading, opened):
    code, out, said = lading("release", "iris:1")
    assert code == 0, said
    assert re.search(r"^iris 1 +live +iris:1 ", out, re.MULTILINE)
    assert "`iris:1` is live; proved on ONNX Runtime" in said
    assert "next: lading history iris" in said
    (evidence,) = opened.evidence(opened.resolve("iris:1").digest)
    assert opened.releases.current("iris").runtime == evidence.fingerprint.id
    assert opened.resolve("iris:live").version == 1


def test_the_same_again_changes_nothing(lading, proved):
    lading("release", "iris:1")
    code, _, said = lading("release", "iris:1")
    assert code == 0
    assert "is live already" in said
    assert len(proved.releases.events("iris")) == 1


def test_a_version_that_does_not_hold_is_not_released_and_the_check_is_named(lading, opened, tmp_path):
    ref = push_forged(opened, tmp_path / "forged")
    code, out, said = lading("release", ref)
    assert (code, out) == (1, "")
    assert f"`{ref}` does not hold here, check `golden`" in said
    assert opened.releases.current("iris") is None
    assert not opened.evidence(opened.resolve(ref).digest)[0].holds


def test_evidence_of_another_runtime_is_enough_and_is_named(lading, opened, tmp_path):
    ref = push_forged(opened, tmp_path / "forged")
    told_of(opened, ref)
    code, out, _ = lading("release", ref, "--json")
    assert code == 0
    assert json.loads(out)["proof"]["runtime"] == ELSEWHERE.id
    assert opened.releases.current("iris").runtime == ELSEWHERE.id


def test_what_is_not_there_ends_with_3(lading, proved):
    assert lading("release", "iris:9")[0] == 3
    assert lading("release", "irsi:1")[0] == 3
    assert lading("rollback", "none")[0] == 3
    assert lading("history", "none")[0] == 3
    assert lading("rollout", "status", "none")[0] == 3
    assert lading("rollout", "promote", "iris")[0] == 3


# Gradual.


def test_a_canary_says_its_share_and_who_is_missing(lading, proved):
    lading("release", "iris:1")
    options = "--canary 10,100 --hold 5m --min-requests 7 --no-traffic-timeout 2h --rule X-Team=qa:candidate"
    code, out, said = lading("release", "iris:2", *options.split())
    assert code == 0, said
    assert re.search(r"^iris 2 +running +iris:1 +iris:2 +10 % +1 of 2 ", out, re.MULTILINE)
    assert "`iris:2` gets 10 % of requests beside `iris:1`" in said
    assert "no process drives it yet" in said
    assert "next: lading rollout watch iris" in said
    plan = proved.releases.current("iris").plan
    assert (plan.hold_s, plan.min_requests, plan.no_traffic_timeout_s) == (300, 7, 7200)
    assert msgspec.to_builtins(plan.rules) == ({"header": "x-team", "equals": "qa", "side": "candidate"},)


@pytest.mark.parametrize(
    ("options", "mode", "steps"),
    [
        (["--canary"], "canary", (5, 25, 50, 100)),
        (["--shadow"], "shadow", (0,)),
        (["--ab"], "ab", (50,)),
        (["--ab", "20"], "ab", (20,)),
    ],
)
def test_each_mode_has_its_steps(lading, proved, options, mode, steps):
    lading("release", "iris:1")
    assert lading("release", "iris:2", *options)[0] == 0
    plan = proved.releases.current("iris").plan
    assert (plan.mode, plan.steps) == (mode, steps)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--canary", "50,5"], "rising percentages"),
        (["--canary", "0,101"], "rising percentages"),
        (["--canary", "--shadow"], "expected one way to release, found `--canary` and `--shadow`"),
        (["--hold", "60s"], "`--hold` needs `--canary`, `--shadow` or `--ab`"),
        (["--rule", "a=b:candidate"], "`--rule` needs"),
        (["--no-traffic-timeout", "1h"], "`--no-traffic-timeout` needs"),
        (["--canary", "5", "--hold", "soon"], "expected a time such as `60s`"),
        (["--canary", "5", "--rule", "a=b"], "expected `HEADER=VALUE:candidate`"),
        (["--ab", "100"], "--ab"),
    ],
)
def test_plans_that_cannot_be_are_wrong_use(lading, proved, options, sentence):
    lading("release", "iris:1")
    code, out, said = lading("release", "iris:2", *options)
    assert (code, out) == (2, "")
    assert sentence in said


def test_a_candidate_needs_a_live_version_and_is_not_proved_in_vain(lading, opened):
    code, _, said = lading("release", "iris:2", "--canary")
    assert code == 2
    assert "hint: `lading release iris:2` makes it live at once" in said
    assert not opened.evidence()


def test_a_reference_without_a_version_is_refused(lading, proved):
    code, _, said = lading("release", "iris")
    assert code == 2
    assert "as in `iris:2`" in said


def test_gates_are_judged_now_and_live_gates_go_into_the_plan(lading, proved, tmp_path):
    lading("release", "iris:1")
    gates = tmp_path / "gates.toml"
    gates.write_text("min_metric.accuracy = 0.95\n[live]\nmax_error_increase = 0.01\n")
    code, _, said = lading("release", "iris:2", "--canary", "--gates", gates)
    assert code == 1
    assert "gate `min_metric.accuracy`: expected at least 0.95, found 0.9" in said
    gates.write_text("no_worse_than_live.accuracy = 0.0\n[live]\nmax_error_increase = 0.01\n")
    code, _, said = lading("release", "iris:2", "--canary", "--gates", gates)
    assert code == 0, said
    assert "gates met: no_worse_than_live.accuracy" in said
    assert proved.releases.current("iris").plan.gates == {"max_error_increase": 0.01}


def test_live_gates_of_a_release_straight_to_live_are_said_to_judge_nothing(lading, proved, tmp_path):
    gates = tmp_path / "gates.toml"
    gates.write_text("[live]\nmax_error_increase = 0.01\n")
    assert "have no effect" in lading("release", "iris:1", "--gates", gates)[2]


# Steering.


def test_a_release_is_paused_resumed_and_promoted_by_hand(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    assert "is paused" in lading("rollout", "pause", "iris", "--reason", "lunch")[2]
    assert lading("rollout", "pause", "iris")[0] == 2
    assert "is running" in lading("rollout", "resume", "iris", "--actor", "grace")[2]
    assert "100 % to iris:2" in lading("rollout", "promote", "iris")[2]
    code, out, said = lading("rollout", "promote", "iris", "--json")
    assert code == 0
    assert json.loads(out)["release"]["state"] == "live"
    assert "`iris:2` is live" in said
    events = proved.releases.events("iris")
    assert [one.kind for one in events[2:]] == ["paused", "resumed", "step", "promoted"]
    assert (events[2].reason, events[3].actor, events[4].reason) == ("lunch", "grace", "by hand")
    assert lading("rollout", "promote", "iris")[0] == 2


def test_the_actor_is_given_or_set_or_the_login_name(lading, proved, monkeypatch):
    monkeypatch.setenv("LADING_ACTOR", "ada")
    lading("release", "iris:1")
    monkeypatch.delenv("LADING_ACTOR")
    monkeypatch.setenv("LOGNAME", "login")
    lading("release", "iris:2")
    lading("release", "iris:1", "--actor", "grace")
    assert [one.actor for one in proved.releases.events("iris")] == ["ada", "login", "grace"]


def test_status_shows_all_or_one_with_its_numbers(lading, proved):
    assert lading("rollout", "status")[:2] == (0, "")
    lading("release", "iris:1", "--actor", "ada")
    assert lading("rollout", "status", "iris")[1] == "iris, release 1 is live: straight to live, by ada\n"
    lading("release", "iris:2", "--ab")
    Crowd(proved).second(proved.releases.current("iris"), time.time(), EQUAL, EQUAL)
    assert "iris:2" in lading("rollout", "status")[1]
    _, out, said = lading("rollout", "status", "iris")
    assert out.splitlines()[0].startswith("iris, release 2: A/B by ")
    assert re.search(r"^ +live iris:1 +candidate iris:2$", out, re.MULTILINE)
    assert re.search(r"^latency p99 +\d", out, re.MULTILINE)
    assert re.search(r"^answered setosa +\d", out, re.MULTILINE)
    assert "verdict so far: hold" in out
    assert "no process drives it" in said
    seen = json.loads(lading("rollout", "status", "iris", "--json")[1])
    assert seen["live"]["requests"] + seen["candidate"]["requests"] == 400
    assert seen["verdict"]["action"] == "hold"


# Watching.


@pytest.mark.slow
def test_watching_into_a_pipe_writes_a_line_a_change_and_ends_with_the_release(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    for after_s in (1.2, 3.5):
        later(lambda: promote(proved), after_s)
    code, out, said = lading("rollout", "watch", "iris")
    assert code == 0
    lines = out.splitlines()
    assert any("step 1 of 2, 5 % to iris:2" in line for line in lines)
    assert any("step 2 of 2, 100 % to iris:2" in line for line in lines)
    assert "ended: `iris:2` is live" in said


@pytest.mark.slow
def test_watching_ends_with_1_where_the_version_did_not_become_live(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--shadow")
    current = proved.releases.current("iris")
    move = rolled_back(current, "driver", "harm")
    later(lambda: proved.releases.change(current, event=move.event, **move.changes))
    code, out, said = lading("rollout", "watch", "iris", "--json")
    assert code == 1
    states = [json.loads(line)["release"]["state"] for line in out.splitlines()]
    assert states == ["running", "rolled_back"]
    assert "ended: rolled back, `iris:1` is live: harm" in said


def promote(registry) -> None:
    current = registry.releases.current("iris")
    apply(registry, current, promoted(current, "ada", ""))


def later(act, after_s: float = 1.2) -> None:
    timer = threading.Timer(after_s, act)
    timer.daemon = True
    timer.start()


@pytest.mark.slow
def test_watching_on_a_terminal_shows_both_sides_and_the_verdict(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    lading("rollout", "promote", "iris")
    later(lambda: promote(proved), 4)
    shown = on_a_terminal("rollout", "watch", "iris")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "live iris:1" in plain
    assert "candidate iris:2" in plain
    assert "verdict so far: hold" in plain
    assert "ended: `iris:2` is live" in plain


def test_once_is_one_frame(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary")
    code, out, _ = lading("rollout", "watch", "iris", "--once")
    assert code == 0
    assert out.count("verdict so far") == 1


# Back.


def test_rolling_back_is_a_new_release_of_what_was_live_before(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2")
    code, out, said = lading("rollback", "iris", "--reason", "complaints")
    assert code == 0, said
    assert re.search(r"^iris 3 +live +iris:1 ", out, re.MULTILINE)
    assert "`iris:1` is live again in place of `iris:2`; proved on ONNX Runtime" in said
    last = proved.releases.events("iris")[-1]
    assert (last.kind, last.from_, last.to, last.reason) == ("rolled_back", "2", "1", "complaints")
    assert last.fingerprint == proved.evidence(proved.resolve("iris:1").digest)[0].fingerprint.id
    assert lading("rollback", "iris", "--to", "1")[0] == 0
    assert len(proved.releases("iris")) == 3


def test_rolling_back_a_candidate_leaves_what_is_live_and_asks_for_no_proof(lading, proved, tmp_path):
    ref = push_forged(proved, tmp_path / "forged")
    told_of(proved, ref)
    lading("release", ref)
    lading("release", "iris:2", "--canary")
    code, _, said = lading("rollback", "iris", "--json")
    assert code == 0, said
    assert f"`{ref}` is live again in place of `iris:2`; proved on ONNX Runtime 1.17.0" in said
    assert proved.releases.current("iris").runtime == ELSEWHERE.id


def test_rolling_back_to_what_does_not_hold_here_is_refused_and_names_where_it_did(lading, proved, tmp_path):
    ref = push_forged(proved, tmp_path / "forged")
    told_of(proved, ref)
    lading("release", ref)
    lading("release", "iris:2")
    code, out, said = lading("rollback", "iris")
    assert (code, out) == (1, "")
    assert f"`{ref}` does not hold here, check `golden`" in said
    assert f"it holds on ONNX Runtime 1.17.0, Python 3.10.1, debian 11 aarch64 ({ELSEWHERE.id})" in said
    assert proved.releases.current("iris").live == 2


def test_without_an_earlier_version_there_is_nothing_to_go_back_to(lading, proved):
    lading("release", "iris:1")
    code, _, said = lading("rollback", "iris")
    assert code == 3
    assert "a version that was live before" in said


# History.


def test_history_tells_all_and_checks_the_chain(lading, proved):
    assert lading("history", "iris")[:2] == (0, "")
    lading("release", "iris:1")
    assert "the history of `iris` is complete: 1 event\n" in lading("history", "iris", "--check")[2]
    lading("release", "iris:2", "--canary")
    lading("rollback", "iris")
    code, out, said = lading("history", "iris", "--check")
    assert code == 0
    kinds = [line.split()[5] for line in out.splitlines()[1:]]
    assert kinds == ["released", "released", "superseded", "rolled_back"]
    assert "the history of `iris` is complete: 4 events" in said
    told = json.loads(lading("history", "iris", "--last", "2", "--json")[1])["events"]
    assert [one["kind"] for one in told] == ["superseded", "rolled_back"]
    assert verify_chain(proved.releases.events("iris")) is None


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("update events set actor = 'nobody' where seq = 2", "event 2"),
        ("delete from events where seq = 2", "event 3"),
        ("delete from events where seq > 1", "its end"),
    ],
)
def test_a_history_that_was_changed_is_found_and_the_event_named(lading, proved, filled, statement, named):
    lading("release", "iris:1")
    lading("release", "iris:2")
    lading("release", "iris:1")
    (database,) = filled.glob("*.db")
    with sqlite3.connect(database) as connection:
        guards = connection.execute("select name from sqlite_master where type = 'trigger'").fetchall()
        for (guard,) in guards:
            connection.execute(f"drop trigger {guard}")
        connection.execute(statement)
    connection.close()
    code, _, said = lading("history", "iris", "--check")
    assert code == 1
    assert f"history of `iris`, {named}" in said


@pytest.mark.parametrize(("last", "changes"), [(3, 2), (2, 1)])
def test_a_history_whose_end_was_cut_off_within_the_newest_release_is_found(
    lading, proved, filled, last, changes
):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    lading("rollout", "promote", "iris")
    lading("rollout", "pause", "iris")
    proved.releases.note(proved.releases.current("iris"), EventDraft(kind="ready", actor="web-1"))
    assert lading("history", "iris", "--check")[0] == 0
    with sqlite3.connect(filled / "catalog.db") as connection:
        for (guard,) in connection.execute(
            "select name from sqlite_master where type = 'trigger'"
        ).fetchall():
            connection.execute(f"drop trigger {guard}")
        connection.execute("delete from events where seq > ?", [last])
    connection.close()
    code, _, said = lading("history", "iris", "--check")
    assert code == 1
    assert f"history of `iris`, its end: expected 3 changes of release 2, found {changes}" in said
