"""How a release is shown."""

from __future__ import annotations

import time

import msgspec
import pytest

from lading.cli.ui import release_view
from lading.release import Plan, Release, begin, changed
from lading.rollout import WindowReader
from lading.rollout.estimate import Estimate, Forecast, LargerStep
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
    assert (
        "`lading rollout promote iris --release 2 --to live` or `lading rollout abort iris --re" in decision
    )
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


@pytest.mark.parametrize(
    ("estimate", "line"),
    [
        (Estimate(requests_per_s=12.34, step_s=60, live_s=360), "about 60 s more for this step, 6 min until"),
        (
            Estimate(requests_per_s=12.34, step_s=360, live_s=360),
            "about 6 min more until it is live, at 12",
        ),
        (
            Estimate(requests_per_s=0.2, step_s=7200),
            "for this step; at 0.2 requests/s, it cannot be live",
        ),
        (Estimate(requests_per_s=0.2), "at 0.2 requests/s, this step cannot have its evidence within a day"),
        (
            Estimate(requests_per_s=9, harmful=True),
            "at 9 requests/s, it will be rolled back",
        ),
        (Estimate(requests_per_s=0), "no requests at present"),
    ],
)
def test_a_canary_says_how_long_it_will_take(estimate, line):
    snapshot = msgspec.structs.replace(snapshot_of(release()), estimate=estimate)
    assert line in release_view.notes(snapshot)[0]
    assert ("more until it is live" in release_view.change_line(snapshot)) == (estimate.live_s is not None)


def test_a_canary_that_cannot_end_within_a_day_is_warned_of_when_it_begins():
    plan, larger = release().plan, LargerStep(percent=50, live_s=36000)
    slow = Forecast(requests_per_s=0.01, larger=larger)
    (line, rare) = release_view.forecast_lines(slow, plan)
    assert line.startswith("warning: at the present 0.01 requests/s, the step of 10 % cannot have")
    assert "`--canary 50,100` would take about 10 h 0 min" in line
    assert rare.startswith("warning: it gets about 3.6 requests in 60 min and is rolled back if it gets none")
    quick = Forecast(requests_per_s=100, step_s=60, live_s=600)
    (line,) = release_view.forecast_lines(quick, plan)
    assert line == "about 10 min until it is live, 60 s at 10 %, at the present 100 requests/s"


@pytest.mark.parametrize("mode", ["shadow", "ab"])
@pytest.mark.parametrize(
    ("step_s", "line", "before"),
    [
        (360, "about 6 min more until its evidence is complete, at 12", "about 6 min until its evidence is"),
        (None, "at 12 requests/s, it cannot have its evidence within a day", "it cannot have its evidence"),
        (0, "its evidence is complete, at 12", None),
    ],
)
def test_a_release_that_a_person_decides_says_when_its_evidence_is_complete(mode, step_s, line, before):
    estimate = Estimate(requests_per_s=12, step_s=step_s)
    snapshot = msgspec.structs.replace(snapshot_of(release(mode)), estimate=estimate)
    assert release_view.notes(snapshot)[0].startswith(line)
    assert ("until its evidence is complete" in release_view.change_line(snapshot)) == bool(step_s)
    if before is not None:
        forecast = Forecast(requests_per_s=12, step_s=step_s)
        (line,) = release_view.forecast_lines(forecast, release(mode).plan)
        assert before in line
        assert line.startswith("warning: ") == (step_s is None)
