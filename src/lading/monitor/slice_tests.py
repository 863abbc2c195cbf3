"""The tests of one version's slices over hours: labelled rows in, alarms out. Reads no log and no clock.

An hour is tested once: `SliceTests` says up to when labels are counted, and is stored with the alarms. What
is stored goes on, in whatever process, as if it had not been.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping

import msgspec

from lading.alarms import Alarm
from lading.monitor.slices import SliceState, advance, alarm_of
from lading.monitor.wording import describe_decay

HOUR_S = 3600.0
_KEPT = math.exp(-1 / 24)
"""Of the rows of about a day, after one more hour: they fade, so that no list of hours has to be kept."""

PREFIX = "slices "
"""With which the keys of these states begin; no model's name has a blank."""


class SliceTests(msgspec.Struct):
    """Everything that the tests of one version's slices must remember, as JSON.

    Labels that came before ``counted_until``, a whole hour, are counted. ``unread`` says in words why no more
    can be counted now, empty if they can. ``recent`` are the wrong and right rows of each slice of about the
    last day, ``alarms`` the open ones by slice.
    """

    name: str
    version: int
    digest: str
    release: int
    counted_until: float
    slices: dict[str, SliceState] = {}
    recent: dict[str, tuple[float, float]] = {}
    alarms: dict[str, Alarm] = {}
    unread: str = ""

    @property
    def key(self) -> str:
        """Return what identifies the tests among all states of the monitor."""
        return key_of(self.name, self.digest)


def key_of(name: str, digest: str) -> str:
    """Return the key of the tests of a version's slices."""
    return f"{PREFIX}{name}/{digest[-16:]}"


def read_tests(body: str) -> SliceTests | None:
    """Return stored tests, or None if another version of lading has written them in another form."""
    try:
        return msgspec.json.decode(body, type=SliceTests)
    except msgspec.ValidationError:
        return None


def add_hour(tests: SliceTests, counts: Mapping[str, tuple[int, int]], alpha: float) -> list[Alarm]:
    """Test the hour that follows; return the alarms that are new.

    `counts` are the ``(wrong, right)`` rows of each slice whose labels came in that hour; `alpha` is the
    chance of any false alarm over all slices, for all time.
    """
    at = tests.counted_until
    tests.counted_until = at + HOUR_S
    tests.slices = advance(tests.slices, counts, at, HOUR_S)
    tests.recent = {name: _faded(tests.recent.get(name), counts.get(name)) for name in tests.slices}
    raised = [_alarm(tests, name, at) for name in alarm_of(tests.slices, alpha) if name not in tests.alarms]
    tests.alarms |= {alarm.subject: alarm for alarm in raised}
    return raised


def close(tests: SliceTests, now: float) -> list[Alarm]:
    """Return the open alarms, ended at `now`: another version is live."""
    ended = [msgspec.structs.replace(alarm, ended_at=now) for alarm in tests.alarms.values()]
    tests.alarms = {}
    return ended


def _faded(before: tuple[float, float] | None, hour: tuple[int, int] | None) -> tuple[float, float]:
    (wrong, right), (more_wrong, more_right) = before or (0.0, 0.0), hour or (0, 0)
    return _KEPT * wrong + more_wrong, _KEPT * right + more_right


def _alarm(tests: SliceTests, name: str, at: float) -> Alarm:
    test = tests.slices[name].test
    assert test is not None  # Without a test there is no evidence.
    # Not the accuracy since the test began, which months before the change hide.
    wrong, right = tests.recent[name]
    accuracy = right / (wrong + right)
    return Alarm(
        id=secrets.token_hex(8),
        name=tests.name,
        version=tests.version,
        digest=tests.digest,
        release=tests.release,
        kind="slice",
        subject=name,
        began_at=test.began_at if test.began_at is not None else at,
        raised_at=at + HOUR_S,
        value=accuracy,
        text=describe_decay(test.reference_accuracy, accuracy, name),
    )
