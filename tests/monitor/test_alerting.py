"""Alerts over a real catalog: from its alarms to a receiver, whichever process is killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lading.alarms import Alarm
from lading.monitor.alert_rules import AlertRules
from lading.monitor.alerting import Alerting, catalog_findings
from lading.registry import Registry
from lading.registry.open import open_catalog
from support.alert_states import finding
from support.prometheus_servers import Webhook, webhook
from support.registries import registry_over
from support.waiting import wait_until

ALARM = Alarm(
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
    text="`age` has drifted",
)
ENDED = Alarm(**{field: getattr(ALARM, field) for field in ALARM.__struct_fields__} | {"ended_at": 900.0})


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry(tmp_path) -> Iterator[Registry]:
    catalog = open_catalog(str(tmp_path / "registry"))
    yield registry_over(catalog)
    catalog.close()


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


def rules_to(hook: Webhook, more: str = "") -> AlertRules:
    alert = f'[[alert]]\nname = "all"\nwhen = "*"\nroute = "ops"\n{more}\n'
    return AlertRules.parse(f'{alert}[route.ops]\nwebhook = "{hook.url}"\n')


def raise_alarm(registry: Registry, *alarms: Alarm) -> None:
    registry.monitoring.save("monitor", {}, [], alarms)


def statuses(hook: Webhook) -> list[str]:
    return [body["status"] for body in hook.bodies]


def test_an_alarm_is_sent_and_its_end_too(registry, hook):
    alerting = Alerting(registry, rules_to(hook), clock=Clock())
    alerting.turn()
    raise_alarm(registry, ALARM)
    alerting.turn()
    wait_until(lambda: statuses(hook) == ["firing"], 10)
    alerting.turn()
    raise_alarm(registry, ENDED)
    alerting.turn()
    wait_until(lambda: statuses(hook) == ["firing", "resolved"], 10)
    alerting.close()
    assert hook.bodies[0]["subject"] == "age"


def test_what_was_delivered_is_not_sent_by_the_next_driver(registry, hook):
    raise_alarm(registry, ALARM)
    first = Alerting(registry, rules_to(hook), clock=Clock())
    first.turn()
    first.close()
    second = Alerting(registry, rules_to(hook), clock=Clock())
    second.turn()
    second.close()
    assert statuses(hook) == ["firing"]


def test_what_was_not_delivered_is_sent_by_the_next_driver(registry, hook):
    raise_alarm(registry, ALARM)
    hook.status = 503
    first = Alerting(registry, rules_to(hook), clock=Clock())
    first.turn()
    wait_until(lambda: first.deliveries.failed, 10)
    first.close()
    hook.status = 200
    second = Alerting(registry, rules_to(hook), clock=Clock())
    second.turn()
    second.close()
    assert statuses(hook) == ["firing"]


def test_a_driver_that_lost_the_lease_reads_the_states_again(registry, hook):
    clock = Clock()
    raise_alarm(registry, ALARM)
    first = Alerting(registry, rules_to(hook), clock=clock)
    first.turn()
    wait_until(lambda: first.deliveries.sent, 10)
    first.turn()
    first.turn(leading=False)
    second = Alerting(registry, rules_to(hook), clock=clock)
    raise_alarm(registry, ENDED)
    second.turn()
    second.close()
    first.turn()
    first.close()
    assert statuses(hook) == ["firing", "resolved"]


def test_what_a_driver_without_the_lease_has_not_delivered_is_left_to_the_other(registry, hook):
    raise_alarm(registry, ALARM)
    hook.status = 503
    first = Alerting(registry, rules_to(hook), clock=Clock())
    first.turn()
    wait_until(lambda: first.deliveries.failed, 10)
    first.turn(leading=False)
    hook.status = 200
    second = Alerting(registry, rules_to(hook), clock=Clock())
    second.turn()
    second.close()
    first.close()
    assert statuses(hook) == ["firing"]


def test_an_alert_is_repeated_after_its_time(registry, hook):
    clock = Clock()
    raise_alarm(registry, ALARM)
    alerting = Alerting(registry, rules_to(hook, 'repeat = "1h"'), clock=clock)
    alerting.turn()
    wait_until(lambda: alerting.deliveries.sent == 1, 10)
    for minutes, expected in ((1, 1), (30, 1), (62, 2)):
        clock.now = 1000.0 + 60 * minutes
        alerting.turn()
        wait_until(lambda expected=expected: alerting.deliveries.sent == expected, 10)
    alerting.close()
    assert [body["repeated"] for body in hook.bodies] == [False, True]


def test_findings_that_the_catalog_does_not_know_count_too(registry, hook):
    lost = finding("log-dropped", subject="", text="4 records were lost")
    alerting = Alerting(registry, rules_to(hook), clock=Clock(), more=lambda: [lost])
    alerting.turn()
    alerting.close()
    assert [body["kind"] for body in hook.bodies] == ["log-dropped"]


def test_nothing_is_stored_that_has_not_changed(registry, hook):
    raise_alarm(registry, ALARM)
    alerting = Alerting(registry, rules_to(hook), clock=Clock())
    alerting.turn()
    wait_until(lambda: alerting.deliveries.sent, 10)
    alerting.turn()
    stored = registry.monitoring.states("alerts")
    alerting.turn()
    assert registry.monitoring.states("alerts") == stored
    assert len(stored) == 1
    alerting.close()


def test_an_ended_alarm_is_no_finding(registry):
    raise_alarm(registry, ENDED)
    assert list(catalog_findings(registry)) == []
