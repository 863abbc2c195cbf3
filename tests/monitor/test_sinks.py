"""Where alerts go: real receivers, those that fail, and a real Alertmanager with a webhook behind."""

from __future__ import annotations

import logging
import threading
import time

import httpx
import msgspec
import pytest

from lading.errors import InvalidSetting
from lading.monitor import sinks
from lading.monitor.alert_rules import Route
from lading.monitor.alerts import Notification, next_states, undelivered
from lading.monitor.sinks import (
    Deliveries,
    DeliveryFailed,
    WebhookSink,
    alertmanager_alert,
    open_sink,
    signature,
    webhook_body,
)
from support.alert_states import finding, firing, notice, rule
from support.ports import free_port
from support.prometheus_servers import Webhook, alertmanager, needed, webhook
from support.waiting import wait_until


@pytest.fixture
def hook():
    with webhook() as running:
        yield running


@pytest.fixture
def quick(monkeypatch):
    """Pause less between two attempts than people would."""
    monkeypatch.setattr(sinks, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(sinks, "LONGEST_PAUSE_S", 0.05)


def resolved_after(notification: Notification, now: float = 2000.0) -> Notification:
    states, _ = next_states([rule()], [], {notification.state.key: notification.state}, now)
    (late,) = undelivered(states)
    return late


def test_a_webhook_gets_one_object_with_a_sentence(hook):
    WebhookSink(hook.url).send([notice()], 1000.0)
    (body,) = hook.bodies
    assert body == webhook_body(notice())
    assert body["text"] == "[warn] firing: iris: `age` has drifted: 0.4 against 0.1"
    assert (body["status"], body["model"], body["version"], body["subject"]) == ("firing", "iris", 3, "age")
    assert body["began_at"] == "1970-01-01T00:01:40Z"
    assert "resolved_at" not in body


@pytest.mark.parametrize(("kind", "page"), [("drift", "monitoring"), ("release", "release")])
def test_an_alert_leads_to_the_page_of_the_hub(hook, kind, page):
    about = msgspec.structs.replace(notice().state, kind=kind, model="a/b")
    open_sink(Route(name="ops", webhook=hook.url), "https://hub.example.com").send(
        [Notification(state=about)], 1000.0
    )
    (body,) = hook.bodies
    assert body["page"] == f"https://hub.example.com/models/a%2Fb/{page}"
    assert body["text"].endswith(f" {body['page']}")
    assert alertmanager_alert(about, 1000.0, "https://hub.example.com")["generatorURL"] == body["page"]
    assert "generatorURL" not in alertmanager_alert(about, 1000.0)
    assert "page" not in webhook_body(notice())


def test_a_request_is_signed_if_there_is_a_secret(hook, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("very secret\n")
    open_sink(Route(name="ops", webhook=hook.url, secret_file=str(secret))).send([notice()], 1234.0)
    headers, body = hook.requests[0]
    assert headers["x-lading-timestamp"] == "1234"
    assert headers["x-lading-signature"] == signature(b"very secret", "1234", body)
    assert signature(b"other", "1234", body) != headers["x-lading-signature"]


@pytest.mark.parametrize("content", [None, b" \n"])
def test_a_secret_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidSetting, match="secret_file"):
        open_sink(Route(name="ops", webhook="http://127.0.0.1", secret_file=str(path)))


@pytest.mark.parametrize("status", [302, 400, 404, 500])
def test_an_answer_that_is_no_success_is_a_failure(hook, status):
    hook.status = status
    with pytest.raises(DeliveryFailed, match=f"status {status}"):
        WebhookSink(hook.url).send([notice()], 1000.0)


def test_what_arrived_before_a_failure_is_not_sent_again(hook, quick):
    hook.fails_from = 2
    deliveries = Deliveries([Route(name="ops", webhook=hook.url)])
    deliveries.post([notice(subject=f"c{number}") for number in range(4)])
    wait_until(lambda: deliveries.failed, 10)
    hook.fails_from = None
    wait_until(lambda: deliveries.sent == 4, 10)
    deliveries.close()
    assert [body["subject"] for body in hook.bodies] == ["c0", "c1", "c2", "c3"]


def test_a_receiver_that_fails_gets_everything_later_once_and_the_log_one_line(hook, quick, caplog):
    caplog.set_level("INFO", "lading.monitor")
    hook.status = 503
    deliveries = Deliveries([Route(name="ops", webhook=hook.url)])
    notices = [notice(subject=f"c{number}") for number in range(5)]
    deliveries.post(notices)
    wait_until(lambda: deliveries.failed >= 3, 10)
    assert deliveries.take_delivered() == []
    hook.status = 200
    wait_until(lambda: deliveries.sent == 5, 10)
    deliveries.close()
    assert [body["subject"] for body in hook.bodies] == ["c0", "c1", "c2", "c3", "c4"]
    assert deliveries.take_delivered() == notices
    assert deliveries.dropped == 0
    lines = [record.getMessage() for record in caplog.records if record.name == "lading.monitor"]
    assert len(lines) == 2
    assert "retrying" in lines[0]
    assert "again" in lines[1]


def test_what_is_newer_about_an_alert_takes_the_place_of_what_waits(hook, quick):
    hook.status = 503
    deliveries = Deliveries([Route(name="ops", webhook=hook.url)])
    first = notice()
    deliveries.post([first])
    wait_until(lambda: deliveries.failed, 10)
    deliveries.post([resolved_after(first)])
    hook.status = 200
    wait_until(lambda: deliveries.sent, 10)
    deliveries.close()
    assert [body["status"] for body in hook.bodies] == ["resolved"]


def test_a_slow_receiver_holds_no_other_up_and_nobody_who_posts(hook):
    with webhook() as slow:
        slow.delay_s = 0.3
        deliveries = Deliveries([Route(name="ops", webhook=hook.url), Route(name="slow", webhook=slow.url)])
        began = time.monotonic()
        deliveries.post([notice(route="slow"), notice(route="ops")])
        assert time.monotonic() - began < 0.3
        wait_until(lambda: hook.bodies, 10)
        assert not slow.bodies
        deliveries.close()
        assert slow.bodies


def test_no_more_wait_than_there_is_room_for(quick, monkeypatch):
    monkeypatch.setattr(sinks, "MOST_WAITING", 3)
    deliveries = Deliveries([Route(name="ops", webhook=f"http://127.0.0.1:{free_port()}")])
    deliveries.post([notice()])
    wait_until(lambda: deliveries.failed, 10)
    deliveries.post([notice(subject=f"c{number}") for number in range(5)])
    deliveries.close(timeout_s=2.0)
    assert deliveries.dropped >= 2


def test_the_end_is_not_held_up_by_a_receiver_that_is_unreachable():
    deliveries = Deliveries([Route(name="ops", webhook=f"http://127.0.0.1:{free_port()}")])
    deliveries.post([notice()])
    before = threading.active_count()
    deliveries.close()
    assert threading.active_count() <= before
    assert deliveries.failed


def test_an_alert_whose_route_is_gone_is_said_so(caplog):
    deliveries = Deliveries([Route(name="log", log=True)])
    deliveries.post([notice()])
    deliveries.close()
    assert "no route" in caplog.text


def test_the_log_is_a_receiver_too(caplog):
    caplog.set_level("INFO", "lading.monitor")
    deliveries = Deliveries([Route(name="ops", log=True)], clock=lambda: 1600.0)
    first = notice()
    deliveries.post([first])
    wait_until(lambda: deliveries.sent == 1, 10)
    deliveries.post([resolved_after(first)])
    deliveries.close()
    levels = [(record.levelno, record.getMessage()) for record in caplog.records]
    text = "alert `drifts` {}: `age` has drifted: 0.4 against 0.1 (since 1500 s)"
    assert levels == [(logging.WARNING, text.format("firing")), (logging.INFO, text.format("resolved"))]


def test_labels_of_an_alert_stay_as_they_are_until_it_is_resolved():
    first = notice()
    over = resolved_after(first)
    begun, ended = alertmanager_alert(first.state, 1000.0), alertmanager_alert(over.state, 2000.0)
    assert begun["labels"] == ended["labels"]
    assert begun["startsAt"] == ended["startsAt"] == "1970-01-01T00:16:40.000Z"
    assert begun["endsAt"] > "1970-01-01T00:16:40"
    assert ended["endsAt"] == "1970-01-01T00:33:20.000Z"
    assert "subject" not in alertmanager_alert(firing(subject=""), 0.0)["labels"]


def test_only_receivers_that_need_it_are_reminded(hook, monkeypatch):
    monkeypatch.setattr(sinks.AlertmanagerSink, "refresh_s", 0.01)
    with webhook() as manager:
        routes = [Route(name="ops", webhook=hook.url), Route(name="team", alertmanager=manager.url)]
        deliveries = Deliveries(routes)
        states = [firing(), firing(route="team"), resolved_after(notice(route="team")).state]
        for count in range(1, 4):
            deliveries.remind(states)
            wait_until(lambda count=count: len(manager.bodies) >= count, 10)
            time.sleep(0.02)
        deliveries.close()
    assert not hook.requests
    assert [len(body) for body in manager.bodies] == [1, 1, 1]
    assert deliveries.take_delivered() == [], "a reminder is no notification"


@needed("prometheus-alertmanager")
@pytest.mark.slow
def test_alertmanager_passes_on_what_fires_and_what_is_resolved(tmp_path, hook: Webhook):
    with alertmanager(tmp_path, hook) as url:
        deliveries = Deliveries([Route(name="ops", alertmanager=url)])
        now = time.time()
        states, notifications = next_states([rule()], [finding(began_at=now - 60)], {}, now)
        deliveries.post(notifications)
        wait_until(lambda: hook.alerts("firing"), 20)
        deliveries.remind(states.values())
        (listed,) = httpx.get(f"{url}/api/v2/alerts").json()
        assert listed["labels"]["alertname"] == "drifts"
        assert not hook.alerts("resolved")
        _, notifications = next_states([rule()], [], states, time.time())
        deliveries.post(notifications)
        wait_until(lambda: hook.alerts("resolved"), 20)
        deliveries.close()
    begun, ended = hook.alerts("firing")[0], hook.alerts("resolved")[0]
    assert begun["labels"] == ended["labels"]
    assert begun["labels"] == {
        "alertname": "drifts",
        "model": "iris",
        "kind": "drift",
        "subject": "age",
        "version": "3",
        "release": "7",
        "severity": "warn",
    }
    assert begun["annotations"]["summary"] == "`age` has drifted: 0.4 against 0.1"
