"""Alarms: open until they have ended, and kept as JSON."""

from __future__ import annotations

import msgspec

from lading.alarms import Alarm

ALARM = Alarm(
    id="a",
    name="iris",
    version=1,
    digest="sha256:1",
    release=2,
    kind="drift",
    subject="age",
    began_at=100.0,
    raised_at=200.0,
    value=0.4,
    text="`age` is higher",
)


def test_an_alarm_is_open_until_it_has_ended():
    assert ALARM.is_open
    assert not msgspec.structs.replace(ALARM, ended_at=300.0).is_open


def test_an_alarm_is_stored_and_read_again_as_it_was():
    assert msgspec.json.decode(msgspec.json.encode(ALARM), type=Alarm) == ALARM
