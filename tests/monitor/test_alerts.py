"""The states of alerts: a pure function of rules, findings, stored states and the time."""

from __future__ import annotations

import msgspec
import pytest

from lading.alarms import Alarm
from lading.monitor.alerts import AlertState, Finding, next_states, undelivered, with_delivered
from support.alert_states import finding, rule


def kinds(notifications) -> list[tuple[str, bool]]:
    return [(notification.state.status, notification.is_repeated) for notification in notifications]


def test_a_finding_fires_once_it_has_lasted():
    rules, states = [rule(for_s=600.0)], {}
    for now, expected in ((0.0, []), (599.0, []), (600.0, [("firing", False)]), (601.0, [])):
        states, notifications = next_states(rules, [finding()], states, now)
        assert kinds(notifications) == expected, now


def test_without_a_time_a_finding_fires_at_once():
    states, notifications = next_states([rule()], [finding()], {}, 1000.0)
    (state,) = states.values()
    assert kinds(notifications) == [("firing", False)]
    assert (state.fired_at, state.began_at, state.version, state.release) == (1000.0, 100.0, 3, 7)


def test_a_finding_that_goes_before_its_time_leaves_nothing():
    states, _ = next_states([rule(for_s=600.0)], [finding()], {}, 0.0)
    states, notifications = next_states([rule(for_s=600.0)], [], states, 300.0)
    assert (states, notifications) == ({}, [])
    states, notifications = next_states([rule(for_s=600.0)], [finding()], states, 400.0)
    assert next_states([rule(for_s=600.0)], [finding()], states, 700.0)[1] == [], "its time begins again"


def test_what_is_over_is_resolved_once_and_kept_for_a_day():
    states, _ = next_states([rule()], [finding()], {}, 0.0)
    states, notifications = next_states([rule()], [], states, 60.0)
    assert kinds(notifications) == [("resolved", False)]
    assert notifications[0].state.resolved_at == 60.0
    states = with_delivered(states, notifications, 61.0)
    for now in (70.0, 3600.0):
        states, notifications = next_states([rule()], [], states, now)
        assert notifications == []
    assert len(states) == 1
    assert next_states([rule()], [], states, 100_000.0) == ({}, [])


def test_what_fires_is_repeated_no_more_often_than_asked():
    rules = [rule(repeat_s=3600.0)]
    states, notifications = next_states(rules, [finding()], {}, 0.0)
    states = with_delivered(states, notifications, 5.0)
    repeated = []
    for now in range(60, 4 * 3600, 60):
        states, notifications = next_states(rules, [finding()], states, float(now))
        if notifications:
            assert kinds(notifications) == [("firing", True)]
            repeated.append(now)
            states = with_delivered(states, notifications, float(now))
    assert repeated == [3660, 7260, 10860]


def test_what_was_not_delivered_is_not_repeated_on_top():
    rules = [rule(repeat_s=60.0)]
    states, _ = next_states(rules, [finding()], {}, 0.0)
    for now in range(60, 600, 60):
        states, notifications = next_states(rules, [finding()], states, float(now))
        assert notifications == []
    assert kinds(undelivered(states)) == [("firing", False)]


def test_a_driver_that_is_killed_is_followed_by_one_that_delivers_what_it_did_not():
    states, _ = next_states([rule()], [finding()], {}, 0.0)
    stored = {key: msgspec.json.encode(state) for key, state in states.items()}
    loaded = {key: msgspec.json.decode(body, type=AlertState) for key, body in stored.items()}
    assert loaded == states
    (notification,) = undelivered(loaded)
    assert undelivered(with_delivered(loaded, [notification], 1.0)) == []
    resolved, _ = next_states([rule()], [], loaded, 10.0)
    assert kinds(undelivered(resolved)) == [("resolved", False)]


def test_a_delivery_of_an_earlier_status_says_nothing_of_the_present_one():
    states, fired = next_states([rule()], [finding()], {}, 0.0)
    states, _ = next_states([rule()], [], states, 10.0)
    assert kinds(undelivered(with_delivered(states, fired, 11.0))) == [("resolved", False)]


def test_what_comes_back_after_it_was_resolved_is_a_new_alert():
    states, _ = next_states([rule()], [finding()], {}, 0.0)
    states, _ = next_states([rule()], [], states, 10.0)
    states, notifications = next_states([rule()], [finding(began_at=15.0)], states, 20.0)
    assert kinds(notifications) == [("firing", False)]
    (state,) = states.values()
    assert (state.began_at, state.fired_at, state.resolved_at) == (15.0, 20.0, 0.0)


def test_an_alert_keeps_what_it_began_with_and_says_what_is_found_now():
    states, _ = next_states([rule()], [finding()], {}, 0.0)
    worse = finding(version=4, release=8, value=0.9, text="worse")
    states, notifications = next_states([rule()], [worse], states, 60.0)
    (state,) = states.values()
    assert notifications == []
    assert (state.version, state.release, state.value, state.text) == (3, 7, 0.9, "worse")


def test_each_rule_model_kind_and_subject_is_an_alert_of_its_own():
    rules = [rule(), rule("all", "*", route="log"), rule("wine only", "*", model="wine")]
    findings = [finding(), finding(subject="sex"), finding(model="wine"), finding("decay", subject="")]
    states, notifications = next_states(rules, findings, {}, 0.0)
    assert len(states) == len(notifications) == 3 + 4 + 1
    assert len({state.key for state in states.values()}) == 8
    assert set(states) == {state.key for state in states.values()}


def test_two_versions_with_the_same_finding_are_one_alert_that_names_the_first():
    findings = [finding(version=4, began_at=200.0), finding(version=3, began_at=100.0)]
    states, notifications = next_states([rule()], findings, {}, 1000.0)
    assert [notification.state.version for notification in notifications] == [3]
    assert len(states) == 1


@pytest.mark.parametrize(
    ("pattern", "model", "matches"),
    [("*", "iris", True), ("iris", "iris", True), ("iris", "iris2", False), ("fraud-*", "fraud-eu", True)],
)
def test_a_rule_names_models_by_a_pattern(pattern, model, matches):
    states, _ = next_states([rule(model=pattern)], [finding(model=model)], {}, 0.0)
    assert bool(states) == matches


def test_a_rule_without_a_severity_takes_that_of_the_finding():
    for severity, expected in ((None, "info"), ("page", "page")):
        states, _ = next_states([rule(severity=severity)], [finding(severity="info")], {}, 0.0)
        assert [state.severity for state in states.values()] == [expected]


def test_an_alert_whose_rule_is_gone_is_resolved_on_its_old_route():
    states, _ = next_states([rule()], [finding()], {}, 0.0)
    _, notifications = next_states([], [finding()], states, 60.0)
    assert kinds(notifications) == [("resolved", False)]
    assert notifications[0].state.route == "ops"


def test_an_open_alarm_is_a_finding():
    alarm = Alarm(
        id="a",
        name="iris",
        version=3,
        digest="sha256:1",
        release=7,
        kind="drift",
        subject="age",
        began_at=100.0,
        raised_at=200.0,
        value=0.4,
        text="`age` has drifted: 0.4 against 0.1",
    )
    assert Finding.of(alarm) == finding()
