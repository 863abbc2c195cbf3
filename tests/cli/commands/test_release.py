"""Releasing versions, straight to live or as a canary."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from lading.clock import iso_time
from support.bundles import linear_bundle
from support.live_windows import windows
from support.recorded_evidence import ELSEWHERE, push_forged, push_proved, record_evidence


@pytest.mark.slow
def test_a_version_is_proved_and_recorded_and_goes_live(lading, opened):
    code, stdout, stderr = lading("release", "iris:1")
    assert code == 0, stderr
    assert re.search(r"^iris 1 +live +iris:1 ", stdout, re.MULTILINE)
    assert "`iris:1` is live; proved on ONNX Runtime" in stderr
    assert "next: lading history iris" in stderr
    (evidence,) = opened.evidence(opened.resolve("iris:1").digest)
    assert opened.releases.current("iris").runtime == evidence.fingerprint.id
    assert opened.resolve("iris:live").version == 1


def test_releasing_the_live_version_again_changes_nothing(lading, proved):
    lading("release", "iris:1")
    code, _, stderr = lading("release", "iris:1")
    assert code == 0
    assert "is live already" in stderr
    assert len(proved.releases.events("iris")) == 1


@pytest.mark.slow
def test_a_version_that_does_not_hold_is_not_released_and_the_check_is_named(lading, opened, tmp_path):
    ref = push_forged(opened, tmp_path / "forged")
    code, stdout, stderr = lading("release", ref)
    assert (code, stdout) == (1, "")
    assert f"`{ref}` does not hold here, check `golden`" in stderr
    assert opened.releases.current("iris") is None
    assert not opened.evidence(opened.resolve(ref).digest)[0].holds


def test_evidence_of_another_runtime_is_enough_and_its_runtime_is_recorded(lading, opened, tmp_path):
    ref = push_forged(opened, tmp_path / "forged")
    record_evidence(opened, ref)
    code, stdout, _ = lading("release", ref, "--json")
    assert code == 0
    assert json.loads(stdout)["proof"]["runtime"] == ELSEWHERE.id
    assert opened.releases.current("iris").runtime == ELSEWHERE.id


def test_a_model_or_version_that_does_not_exist_ends_with_3(lading, proved):
    assert lading("release", "iris:9")[0] == 3
    assert lading("release", "irsi:1")[0] == 3
    assert lading("rollback", "none")[0] == 3
    assert lading("history", "none")[0] == 3
    assert lading("rollout", "status", "none")[0] == 3
    assert lading("rollout", "promote", "iris")[0] == 3


def test_a_canary_is_reported_with_its_share_and_that_no_process_drives_it(lading, proved):
    lading("release", "iris:1")
    options = "--canary 10,100 --hold 5m --min-requests 7 --no-traffic-timeout 2h --rule X-Team=qa:candidate"
    code, stdout, stderr = lading("release", "iris:2", *options.split())
    assert code == 0, stderr
    assert re.search(r"^iris 2 +running +iris:1 +iris:2 +10 % +1 of 2 ", stdout, re.MULTILINE)
    assert "`iris:2` gets 10 % of requests beside `iris:1`" in stderr
    assert "no process drives it yet" in stderr
    assert "next: lading rollout watch iris" in stderr
    plan = proved.releases.current("iris").plan
    assert (plan.hold_s, plan.min_requests, plan.no_traffic_timeout_s) == (300, 7, 7200)
    assert msgspec.to_builtins(plan.rules) == ({"header": "x-team", "equals": "qa", "side": "candidate"},)


def test_a_release_that_is_sent_twice_begins_once_and_again_with_another_plan(lading, proved):
    lading("release", "iris:1")
    for _ in range(2):
        code, stdout, stderr = lading("release", "iris:2", "--canary", "10,100", "--json")
        assert code == 0
        assert json.loads(stdout)["release"]["number"] == 2
    assert "`iris:2` is on its way already; nothing was changed" in stderr
    assert lading("release", "iris:2", "--canary", "20,100")[0] == 0
    assert proved.releases.current("iris").number == 3


def test_a_canary_without_a_live_version_is_refused_before_it_is_proved(lading, opened):
    code, _, stderr = lading("release", "iris:2", "--canary")
    assert code == 2
    assert "hint: `lading release iris:2` makes it live" in stderr
    assert not opened.evidence()


def test_a_reference_without_a_version_is_refused(lading, proved):
    code, _, stderr = lading("release", "iris")
    assert code == 2
    assert "as in `iris:2`" in stderr


def test_gates_are_checked_now_and_live_gates_go_into_the_plan(lading, proved, tmp_path):
    lading("release", "iris:1")
    gates = tmp_path / "gates.toml"
    gates.write_text("min_metric.accuracy = 0.95\n[live]\nmax_error_increase = 0.01\n")
    code, _, stderr = lading("release", "iris:2", "--canary", "--gates", gates)
    assert code == 1
    assert "gate `min_metric.accuracy`: expected at least 0.95, found 0.9" in stderr
    gates.write_text("no_worse_than_live.accuracy = 0.0\n[live]\nmax_error_increase = 0.01\n")
    code, _, stderr = lading("release", "iris:2", "--canary", "--gates", gates)
    assert code == 0, stderr
    assert "gates met: no_worse_than_live.accuracy" in stderr
    assert proved.releases.current("iris").plan.gates == {"max_error_increase": 0.01}


def test_a_version_with_another_signature_needs_force_and_the_differences_are_shown(lading, proved, tmp_path):
    push_proved(proved, linear_bundle(tmp_path / "narrow", features=3))
    lading("release", "iris:1")
    for mode in ([], ["--canary"]):
        code, stdout, stderr = lading("release", "iris:3", *mode)
        assert (code, stdout) == (1, "")
        assert "the live `iris:1`, which callers rely on, found input `X`, shape: [batch, 4]" in stderr
        assert "hint: `lading diff iris:1 iris:3` shows everything; `--force`" in stderr
    assert proved.releases.current("iris").live == 1
    code, _, stderr = lading("release", "iris:3", "--force")
    assert code == 0
    assert "differs from `iris:1`: input `X`, shape: [batch, 4] → [batch, 3]; " in stderr


def test_what_changes_for_nobody_who_calls_is_shown_and_released(lading, proved, tmp_path):
    push_proved(proved, linear_bundle(tmp_path / "other", seed=3, owner="new@example.com"))
    lading("release", "iris:1")
    code, _, stderr = lading("release", "iris:3")
    assert code == 0
    assert "differs from `iris:1`: owner: ml@example.com → new@example.com\n" in stderr


def test_live_gates_of_a_release_straight_to_live_are_reported_to_have_no_effect(lading, proved, tmp_path):
    gates = tmp_path / "gates.toml"
    gates.write_text("[live]\nmax_error_increase = 0.01\n")
    assert "have no effect" in lading("release", "iris:1", "--gates", gates)[2]


def traffic(registry, per_s: float) -> None:
    """Have live answer for the last minute."""
    rows = windows(1, per_s, seconds=60, start=time.time() - 61, rated=0.0)
    registry.traffic.add_windows([msgspec.structs.replace(row, release=1) for row in rows])
    # The release must be older than its traffic: a rate is measured since live serves.
    release = registry.releases.current("iris")
    assert release is not None
    statement = f"update releases set step_started_at = '{iso_time(time.time() - 70, 'milliseconds')}'"
    with closing(sqlite3.connect(Path(registry.where) / "catalog.db")) as connection, connection:
        connection.execute(statement)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("per_s", "words"),
    [
        (200, "until it is live, "),
        (0.3, "the step of 1 % cannot have its evidence within a day; `--canary "),
        (0, "no requests at present: a candidate that gets none is rolled back after 60 min"),
    ],
)
def test_a_canary_says_at_its_start_how_long_it_will_take(lading, proved, per_s, words):
    lading("release", "iris:1")
    if per_s:
        traffic(proved, per_s)
    code, _, stderr = lading("release", "iris:2", "--canary", "1,50,100")
    assert code == 0, stderr
    assert words in stderr
    if per_s:
        assert re.search(r"at the present [\d.]+ requests/s", stderr)


@pytest.mark.slow
def test_what_a_release_prints_for_people_is_in_its_json_too(lading, proved, tmp_path):
    push_proved(proved, linear_bundle(tmp_path / "narrow", features=3))
    lading("release", "iris:1")
    traffic(proved, 200)
    document = json.loads(lading("release", "iris:3", "--canary", "1,100", "--force", "--json")[1])
    assert document["differences"][0] == {
        "where": "input `X`, shape",
        "old": "[batch, 4]",
        "new": "[batch, 3]",
        "breaks": True,
    }
    forecast = document["forecast"]
    assert forecast["requests_per_s"] == pytest.approx(200, rel=0.3)
    assert 0 < forecast["step_s"] < forecast["live_s"]
    assert forecast["larger"] is None
    back = json.loads(lading("rollback", "iris", "--to", "2", "--json")[1])
    assert [difference["breaks"] for difference in back["differences"]] == []
    shadow = json.loads(lading("release", "iris:1", "--shadow", "--json")[1])
    assert shadow["forecast"] == {
        "requests_per_s": 0.0,
        "step_s": None,
        "live_s": None,
        "harmful": False,
        "larger": None,
    }
    live = json.loads(lading("release", "iris:3", "--force", "--json")[1])
    assert live["differences"]
    assert "forecast" not in live


@pytest.mark.parametrize("mode", [["--shadow"], ["--ab", "50"]])
def test_a_shadow_or_ab_test_says_at_its_start_when_its_evidence_will_be_complete(lading, proved, mode):
    lading("release", "iris:1")
    traffic(proved, 200)
    code, _, stderr = lading("release", "iris:2", *mode)
    assert code == 0
    assert re.search(
        r"about \d+ \w+ until its evidence is complete, at the present [\d.]+ requests/s", stderr
    )
