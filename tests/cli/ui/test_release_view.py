"""How a release is shown."""

from __future__ import annotations

import time

import msgspec
import pytest

from lading.cli.ui import release_view
from lading.release import Plan, Release, begin, changed
from lading.rollout import WindowReader
from lading.rollout.snapshot import Snapshot, snapshot, take_snapshot
from lading.verdict import Verdict
from support.simulated_traffic import BAD, EQUAL, Crowd

AT = "2026-11-20T08:00:00Z"


def release(mode: str = "canary") -> Release:
    live = begin(None, "iris", 1, Plan(mode="live"), actor="ada", at=AT, runtime=None)
    plan = Plan(mode=mode, steps=(10, 100) if mode == "canary" else (), hold_s=60)
    return begin(live, "iris", 2, plan, actor="grace", at=AT, runtime=None)


def snapshot_of(release: Release, verdict: Verdict | None = None, driver: str | None = None) -> Snapshot:
    return snapshot(release, [], 1_795_161_700.0, verdict, driver=driver)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (3900, "65 min"), (9000, "2 h 30 min")],
)
def test_a_duration_has_the_units_that_people_use(seconds, text):
    assert release_view.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.000412, "0.412 ms"),
        (0.0123, "12.3 ms"),
        (0.123, "123 ms"),
        (0.99951, "1.00 s"),
        (12.34, "12.3 s"),
    ],
)
def test_a_latency_has_three_digits(seconds, text):
    assert release_view.latency(seconds) == text


def test_a_canary_is_described_with_its_step_share_and_age():
    line = release_view.headline(snapshot_of(release()))
    assert line.startswith("iris, release 2: canary by grace, running, step 1 of 2, 10 % to iris:2 for ")
    assert line.endswith("(at least 60 s)")
    assert (
        release_view.progress_line(release()) == "release 2 of `iris` is running: step 1 of 2, 10 % to iris:2"
    )


def test_a_shadow_gets_copies_and_waits_for_a_decision_by_hand():
    shadow = release("shadow")
    assert "copies to iris:2" in release_view.headline(snapshot_of(shadow))
    (driver, decision) = release_view.notes(snapshot_of(shadow, driver="web-1"))
    assert driver == "driven by web-1"
    assert "`lading rollout promote iris --release 2` or `lading rollout abort iris --release 2`" in decision
    verdict = Verdict("promote", ("outputs: …: no sign of harm",), {})
    assert release_view.verdict_text(snapshot_of(shadow, verdict)) == (
        "good enough to promote",
        verdict.reasons,
    )


def test_a_release_that_nobody_drives_says_how_to_start_a_driver():
    (note,) = release_view.notes(snapshot_of(release()))
    assert note == "no process drives it: start `lading serve` or `lading rollout run`"


def test_the_end_of_a_release_is_described_with_its_reason():
    ended = changed(release(), {"state": "rolled_back", "reason": "errors"}, AT)
    line = "release 2 of `iris` ended: rolled back, `iris:1` is live: errors"
    assert release_view.end_line(ended) == line
    assert release_view.notes(snapshot_of(ended)) == []


def test_a_change_is_one_line_with_the_first_reason_of_the_verdict():
    verdict = Verdict("hold", ("errors: not enough yet", "latency: no sign of harm"), {})
    line = release_view.change_line(snapshot_of(release(), verdict))
    assert line == "iris release 2; running; step 1 of 2, 10 % to iris:2; hold: errors: not enough yet"


@pytest.mark.parametrize(
    ("candidate", "symbol"), [(EQUAL, release_view.PENDING), (BAD["failing"], release_view.HARM)]
)
def test_the_symbols_follow_the_reasons_of_real_verdicts(proved, candidate, symbol):
    proved.releases.begin("iris", 1, Plan(mode="live"), actor="ada")
    plan = Plan(mode="canary", steps=(50, 100), hold_s=3600, min_requests=1)
    current = proved.releases.begin("iris", 2, plan, actor="ada")
    now = time.time()
    crowd = Crowd(proved)
    for second in range(60):
        crowd.second(current, now + second, EQUAL, candidate)
    current_snapshot = take_snapshot(proved, WindowReader(proved), "iris", now + 60)
    symbols = [release_view.symbol(reason) for reason in current_snapshot.verdict.reasons]
    assert symbol in symbols


def test_a_release_without_traffic_is_marked_as_harm():
    reason = "no traffic: no request to the candidate for 3,600 s, at most 3,600 s are waited"
    assert release_view.symbol(reason) == release_view.HARM


def test_the_json_of_a_release_has_all_its_fields():
    fields = {field.name for field in msgspec.structs.fields(Release)}
    assert set(release_view.release_json(release())["release"]) == fields
