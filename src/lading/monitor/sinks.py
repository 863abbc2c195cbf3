"""Where alerts go: a webhook, Alertmanager, the log. Each route has its own thread: none holds another up.

What cannot be delivered is tried again with growing pauses until it is, or until something newer about the
same alert takes its place; failures are counted, and logged once an outage. Decides nothing (`alerts`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import msgspec

from lading import bounded_http
from lading.blobs.retry import AnswerRefused
from lading.clock import back_off_s, iso_time
from lading.errors import InvalidSetting
from lading.monitor.alert_rules import Route
from lading.monitor.alerts import AlertState, Notification

log = logging.getLogger("lading.monitor")

SIGNATURE_HEADER = "x-lading-signature"
TIMESTAMP_HEADER = "x-lading-timestamp"

REFRESH_S = 60.0
"""How often Alertmanager is reminded of what fires: it resolves by itself what it is not reminded of."""

_REQUEST_S = 10.0
_MOST_ANSWER_BYTES = 64 * 1024
MOST_WAITING = 10_000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
_ALERTS_PATH = "/api/v2/alerts"
_FOLLOWED = 4
"""Reminders that may fail before Alertmanager resolves what it is not reminded of."""


class DeliveryFailed(Exception):
    """A receiver did not take alerts; the text says why."""


class Sink(Protocol):
    """Takes notifications to one receiver, in one thread. ``refresh_s`` is 0 if it needs no reminders."""

    refresh_s: float

    def send(self, notifications: Sequence[Notification], now: float) -> Sequence[Notification]:
        """Send them in their order; return those that arrived, or raise `DeliveryFailed` if none did."""

    def close(self) -> None:
        """Close connections."""


class WebhookSink:
    """Posts each notification as one JSON object; with a secret, signed by HMAC-SHA256.

    The signature is over the timestamp, a dot and the body, so that an old request cannot be sent again.
    """

    refresh_s = 0.0

    def __init__(self, url: str, secret: bytes = b"", hub: str = "") -> None:
        self._url = url
        self._hub = hub
        self._secret = secret
        self._client = bounded_http.open_client()

    def send(self, notifications: Sequence[Notification], now: float) -> Sequence[Notification]:
        """Post one after the other, up to the first that is not taken."""
        # In their order: an alert that is resolved must not arrive before it has fired.
        for sent, notification in enumerate(notifications):
            body = msgspec.json.encode(webhook_body(notification, self._hub))
            try:
                _post(self._client, self._url, body, self._signed(body, now))
            except DeliveryFailed:
                if not sent:
                    raise
                return notifications[:sent]
        return notifications

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _signed(self, body: bytes, now: float) -> dict[str, str]:
        if not self._secret:
            return {}
        # Whole seconds: receivers compare it with their own clock, which is no better.
        timestamp = str(int(now))
        return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature(self._secret, timestamp, body)}


class AlertmanagerSink:
    """Posts to Alertmanager's API v2, which groups, silences and repeats by itself."""

    refresh_s = REFRESH_S

    def __init__(self, url: str, hub: str = "") -> None:
        self._hub = hub
        self._url = url.rstrip("/") + ("" if url.rstrip("/").endswith(_ALERTS_PATH) else _ALERTS_PATH)
        self._client = bounded_http.open_client()

    def send(self, notifications: Sequence[Notification], now: float) -> Sequence[Notification]:
        """Post all of them at once."""
        # Alertmanager knows an alert by its labels: one that arrives twice is the same one.
        alerts = [alertmanager_alert(notification.state, now, self._hub) for notification in notifications]
        _post(self._client, self._url, msgspec.json.encode(alerts), {})
        return notifications

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class LogSink:
    """Writes a line of the log: a warning for what fires, and information for what is resolved."""

    refresh_s = 0.0

    def send(self, notifications: Sequence[Notification], now: float) -> Sequence[Notification]:
        """Write one line for each."""
        for notification in notifications:
            state = notification.state
            level = logging.WARNING if state.is_firing else logging.INFO
            after_s = now - state.began_at
            what = f"alert `{state.rule}` {state.status}: {state.text} (since {after_s:.0f} s)"
            log.log(level, "%s", what, extra={"fields": {"model": state.model, "version": state.version}})
        return notifications

    def close(self) -> None:
        """Do nothing."""


def page_of(state: AlertState, hub: str) -> str:
    """Return the address of the page about an alert, or nothing without a `hub`."""
    if not hub:
        return ""
    if state.kind == "vulnerability":
        return f"{hub}/vulnerabilities?q={quote(state.model, safe='')}"
    page = "release" if state.kind == "release" else "monitoring"
    return f"{hub}/models/{quote(state.model, safe='')}/{page}"


def webhook_body(notification: Notification, hub: str = "") -> dict[str, Any]:
    """Return what a webhook gets: the alert, and one sentence as ``text``, which chat programs show."""
    state = notification.state
    page = page_of(state, hub)
    # A chat shows nothing but this sentence, so that it has to name the model.
    what = f"{state.model}: {state.text}" if state.model not in state.text else state.text
    ended = {"resolved_at": iso_time(state.resolved_at)} if state.resolved_at else {}
    return {
        "status": state.status,
        "text": f"[{state.severity}] {state.status}: {what}" + (f" {page}" if page else ""),
        "rule": state.rule,
        "kind": state.kind,
        "model": state.model,
        "subject": state.subject,
        "version": state.version,
        "release": state.release,
        "severity": state.severity,
        "value": state.value,
        "finding": state.text,
        "began_at": iso_time(state.began_at),
        "fired_at": iso_time(state.fired_at),
        **ended,
        **({"page": page} if page else {}),
        "repeated": notification.is_repeated,
        "key": state.key,
    }


def alertmanager_alert(state: AlertState, now: float, hub: str = "") -> dict[str, Any]:
    """Return an alert as Alertmanager's API v2 has it.

    The labels are what identifies it and stay as they are while it lasts; the end is in the future until it
    is resolved, so that Alertmanager resolves what nobody reminds it of any more.
    """
    labels = {
        "alertname": state.rule,
        "model": state.model,
        "kind": state.kind,
        "subject": state.subject,
        "version": str(state.version) if state.version else "",
        "release": str(state.release) if state.release else "",
        "severity": state.severity,
    }
    # A reminder that is lost must not resolve an alert that still fires.
    ends_at = now + _FOLLOWED * REFRESH_S if state.is_firing else state.resolved_at
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": state.text, "value": f"{state.value:g}"},
        "startsAt": iso_time(state.fired_at, "milliseconds"),
        "endsAt": iso_time(ends_at, "milliseconds"),
        # What Alertmanager and what it sends to link as the source of an alert.
        **({"generatorURL": page_of(state, hub)} if hub else {}),
    }


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the signature of a request: ``sha256=`` and the HMAC of timestamp, dot and body."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def open_sink(route: Route, hub: str = "") -> Sink:
    """Return the sink of a route; raises `InvalidSetting` if its secret cannot be read."""
    if route.alertmanager:
        return AlertmanagerSink(route.alertmanager, hub)
    if not route.webhook:
        return LogSink()
    return WebhookSink(route.webhook, _secret(route) if route.secret_file else b"", hub)


def _secret(route: Route) -> bytes:
    where, expected = f"`secret_file` of route `{route.name}`", "a file with a secret"
    try:
        # Editors end a file with a line break, which is no part of the secret.
        secret = Path(route.secret_file).expanduser().read_bytes().strip()
    except OSError as error:
        problem = f"`{route.secret_file}`: {error.strerror}"
        raise InvalidSetting(where, expected=expected, found=problem) from None
    if not secret:
        raise InvalidSetting(where, expected=expected, found=f"`{route.secret_file}` is empty")
    return secret


def _post(client: httpx.Client, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    request = client.build_request(
        "POST", url, content=body, headers={"content-type": "application/json", **headers}
    )
    try:
        # No redirect is followed: else the owner of an address could send alerts anywhere.
        answer = bounded_http.fetch(
            client,
            request,
            max_bytes=_MOST_ANSWER_BYTES,
            within_s=_REQUEST_S,
            may_follow=lambda _request: False,
        )
    except (httpx.HTTPError, AnswerRefused, OSError) as error:
        raise DeliveryFailed(f"{type(error).__name__}: {error}") from None
    if not answer.is_success:
        raise DeliveryFailed(f"status {answer.status_code}: {answer.text[:200]}")


class Deliveries:
    """Delivers notifications by route; `post` never waits for a receiver.

    ``sent``, ``failed`` and ``dropped`` count notifications, failed attempts, and notifications that found no
    room. Raises `InvalidSetting` if a route cannot be opened.
    """

    def __init__(
        self, routes: Iterable[Route], *, clock: Callable[[], float] = time.time, hub: str = ""
    ) -> None:
        self._receivers = {
            route.name: _Receiver(route.name, open_sink(route, hub), clock) for route in routes
        }

    @property
    def sent(self) -> int:
        """Notifications that have arrived."""
        return sum(receiver.sent for receiver in self._receivers.values())

    @property
    def failed(self) -> int:
        """Attempts that have failed."""
        return sum(receiver.failed for receiver in self._receivers.values())

    @property
    def dropped(self) -> int:
        """Notifications that were given up, because too many waited or their route does not exist."""
        return sum(receiver.dropped for receiver in self._receivers.values())

    def post(self, notifications: Iterable[Notification]) -> None:
        """Have notifications delivered; one that waits for the same alert is replaced."""
        for notification in notifications:
            receiver = self._receivers.get(notification.state.route)
            if receiver is not None:
                receiver.post(notification)
            else:
                log.warning("alert `%s` has no route any more", notification.state.rule)

    def remind(self, states: Iterable[AlertState]) -> None:
        """Remind receivers that need it of all alerts that fire; to be called with every look."""
        firing = [state for state in states if state.is_firing]
        for receiver in self._receivers.values():
            receiver.remind([state for state in firing if state.route == receiver.name])

    def forget(self) -> None:
        """Drop what waits, because another process delivers it."""
        for receiver in self._receivers.values():
            receiver.forget()

    def take_delivered(self) -> list[Notification]:
        """Return what has been delivered since this was asked last, for `alerts.with_delivered`."""
        return [
            notification
            for receiver in self._receivers.values()
            for notification in receiver.take_delivered()
        ]

    def close(self, timeout_s: float = 5.0) -> None:
        """Try once more what waits, for `timeout_s` at most over all routes, and end."""
        ends_at = time.monotonic() + timeout_s
        # All of them at once: each may take its whole time to try for the last time.
        for receiver in self._receivers.values():
            receiver.end()
        for receiver in self._receivers.values():
            receiver.join(max(0.0, ends_at - time.monotonic()))


class _Receiver:
    """What waits for one receiver, by alert, and the thread that takes it there."""

    def __init__(self, name: str, sink: Sink, clock: Callable[[], float]) -> None:
        self.name = name
        self.sent = self.failed = self.dropped = 0
        self._sink = sink
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[str, Notification] = {}
        self._reminders: list[Notification] = []
        self._delivered: list[Notification] = []
        self._reminded_at = -sink.refresh_s
        self._ends = self._forgets = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    def post(self, notification: Notification) -> None:
        with self._changed:
            key = notification.state.key
            # A receiver that is down for days must not fill the memory of the process that tests.
            if key not in self._waiting and len(self._waiting) >= MOST_WAITING:
                self.dropped += 1
                return
            # What is newer goes to the end: a receiver sees alerts in the order of their last change.
            self._waiting.pop(key, None)
            self._waiting[key] = notification
            self._wake()

    def remind(self, states: Sequence[AlertState]) -> None:
        if not states or not self._sink.refresh_s:
            return
        now = time.monotonic()
        with self._changed:
            if now - self._reminded_at >= self._sink.refresh_s:
                self._reminded_at = now
                self._reminders = [Notification(state=state, is_repeated=True) for state in states]
                self._wake()

    def forget(self) -> None:
        with self._changed:
            self._waiting, self._reminders, self._forgets = {}, [], True

    def take_delivered(self) -> list[Notification]:
        with self._changed:
            delivered, self._delivered = self._delivered, []
        return delivered

    def end(self) -> None:
        with self._changed:
            self._ends = True
            self._changed.notify()

    def join(self, timeout_s: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._sink.close()

    def _wake(self) -> None:
        # With its first alert: most routes of most processes never have one.
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"alerts to {self.name}", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ends or self._waiting or self._reminders)
                is_last, self._forgets = self._ends, False
                notifications, self._waiting = list(self._waiting.values()), {}
                reminders, self._reminders = self._reminders, []
            # A reminder says nothing that a notification about the same alert does not say.
            fresh = {notification.state.key for notification in notifications}
            again = [reminder for reminder in reminders if reminder.state.key not in fresh]
            if notifications or again:
                self._deliver(notifications, again)
            if is_last:
                return
            if self._failures:
                # What is posted meanwhile waits as well: it would not arrive either.
                pause_s = back_off_s(self._failures, first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)
                with self._changed:
                    self._changed.wait_for(lambda: self._ends, pause_s)

    def _deliver(self, notifications: list[Notification], reminders: list[Notification]) -> None:
        try:
            arrived = list(self._sink.send([*notifications, *reminders], self._clock()))
        except DeliveryFailed as error:
            arrived = []
            if not self._failures:
                log.warning("alerts do not reach route `%s`, retrying: %s", self.name, error)
        except Exception:
            arrived = []
            if not self._failures:  # The edge of a thread: without this no alert would be sent any more.
                log.exception("alerts do not reach route `%s`, retrying", self.name)
        is_complete = len(arrived) == len(notifications) + len(reminders)
        if is_complete and self._failures:
            log.info("alerts reach route `%s` again", self.name)
        with self._changed:
            self._failures = 0 if is_complete else self._failures + 1
            self.failed += not is_complete
            # Notifications come first: of what arrived the rest are reminders.
            count = min(len(arrived), len(notifications))
            self.sent += count
            self._delivered += notifications[:count]
            # What has come meanwhile about the same alert is newer, and stays.
            late = {notification.state.key: notification for notification in notifications[count:]}
            if self._forgets:
                late = {}
            self._waiting = {**late, **self._waiting}
