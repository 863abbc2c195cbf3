"""Windows of columns, baselines, states and alarms in both catalogs."""

from __future__ import annotations

import msgspec

from lading.alarms import Alarm, Baseline
from lading.profile import Profile
from lading.profile.encoding import digest, encode
from lading.profile.live import ColumnWindow
from support.registries import registry_over


def window(number: int, name: str = "iris", at: float = 1e9) -> ColumnWindow:
    return ColumnWindow(
        name=name,
        version=1,
        digest="sha256:1",
        release=1,
        replica="r",
        profile="sha256:2",
        at=at,
        seconds=30.0,
        rows=3,
        seen=30,
        counts=((0, 0, 1, 2), (0, 1, 2)),
        id=f"w{number}",
    )


def alarm(identity: str, raised_at: float, name: str = "iris") -> Alarm:
    return Alarm(
        id=identity,
        name=name,
        version=1,
        digest="sha256:1",
        release=1,
        kind="drift",
        subject="age",
        began_at=raised_at - 60,
        raised_at=raised_at,
        value=0.3,
        text="`age` is higher by 0.3 standard deviations",
    )


def test_a_window_that_is_sent_twice_counts_once_and_comes_back_whole(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    monitoring.add_windows([window(1), window(2, at=1e9 + 30)])
    monitoring.add_windows([window(2, at=1e9 + 30), window(3, "wine")])
    assert monitoring.windows("iris") == [window(1), window(2, at=1e9 + 30)]
    assert monitoring.windows("iris", since=1e9 + 1) == [window(2, at=1e9 + 30)]
    assert monitoring.windows("iris", until=1e9 + 1) == [window(1)]
    assert monitoring.watched() == ["iris", "wine"]


def test_windows_are_read_on_from_a_mark_each_once(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    assert monitoring.windows_after(0) == (0, [])
    monitoring.add_windows([window(number) for number in range(5)])
    mark, first = monitoring.windows_after(0, limit=3)
    _, rest = monitoring.windows_after(mark)
    assert [each.id for each in (*first, *rest)] == ["w0", "w1", "w2", "w3", "w4"]


def test_a_baseline_replaces_the_last_and_can_be_removed(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    for text in ("first", "second"):
        monitoring.set_baseline(Baseline(name="iris", profile="{}", set_at=1.0, set_by="ann", text=text))
    kept = monitoring.baseline("iris")
    assert kept is not None
    assert kept.text == "second"
    assert monitoring.remove_baseline("iris")
    assert not monitoring.remove_baseline("iris")
    assert monitoring.baselines() == []


def test_a_profile_is_kept_by_its_digest(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    profile = Profile(rows=3, source="samples", inputs=())
    for _ in range(2):
        monitoring.add_profile(digest(profile), encode(profile))
    assert monitoring.profile(digest(profile)) == profile
    assert monitoring.profile("sha256:other") is None


def test_states_and_alarms_are_stored_together_and_replaced_by_key(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    monitoring.save("monitor", {"iris": "1", "wine": "2"}, alarms=[alarm("a", 10.0), alarm("b", 20.0)])
    ended = msgspec.structs.replace(alarm("a", 10.0), ended_at=30.0)
    monitoring.save("monitor", {"iris": "3"}, ["wine"], [ended])
    assert monitoring.states("monitor") == {"iris": "3"}
    assert monitoring.states("alerts") == {}
    assert [each.id for each in monitoring.alarms("iris")] == ["b", "a"]
    assert [each.id for each in monitoring.alarms(open_only=True)] == ["b"]
    assert monitoring.alarms("wine") == []


def test_only_what_is_old_and_over_is_pruned(open_catalog):
    registry = registry_over(open_catalog())
    monitoring, now = registry.monitoring, registry.fleet.now()
    old = now - 90 * 86400
    monitoring.add_windows([window(1, at=old), window(2, at=now)])
    ended = msgspec.structs.replace(alarm("a", old), ended_at=old + 60)
    monitoring.save("monitor", {}, alarms=[ended, alarm("still open", old)])
    assert [removed.name for removed in monitoring.prune(dry_run=True)] == ["1 windows", "1 alarms"]
    monitoring.prune(dry_run=False)
    assert monitoring.windows("iris") == [window(2, at=now)]
    assert [each.id for each in monitoring.alarms()] == ["still open"]
