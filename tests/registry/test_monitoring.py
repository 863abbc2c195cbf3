"""Windows of columns, baselines, states and alarms in both catalogs."""

from __future__ import annotations

import msgspec

from lading.alarms import Alarm, Baseline
from lading.profile import Profile
from lading.profile.encoding import digest, encode
from lading.profile.live import ColumnWindow
from lading.registry.catalog.monitoring import AlarmQuery
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


def test_the_newest_window_of_a_period_comes_with_how_many_there_are(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    assert monitoring.newest_window("iris", 0, 2e9) == (0, None)
    monitoring.add_windows([window(1, at=10.0), window(2, at=20.0), window(3, at=20.0), window(4, "wine")])
    assert monitoring.newest_window("iris", 0, 2e9) == (3, window(3, at=20.0))
    assert monitoring.newest_window("iris", 10.0, 20.0) == (1, window(1, at=10.0))


def test_windows_are_read_of_several_spans_at_once_without_their_ends(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    monitoring.add_windows([window(number, at=10.0 * number) for number in range(1, 8)])
    monitoring.add_windows([window(9, "wine", at=10.0)])
    spans = [(50.0, 60.0), (10.0, 30.0)]
    assert [each.id for each in monitoring.windows_within("iris", spans)] == ["w1", "w2", "w5"]
    many = [(float(at), at + 0.5) for at in range(480)]
    assert len(monitoring.windows_within("iris", many)) == 7
    assert monitoring.windows_within("iris", []) == []


def test_one_state_is_read_by_its_key(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    monitoring.save("monitor", {"iris": "1", "wine": "2"})
    assert monitoring.state("monitor", "wine") == "2"
    assert monitoring.state("monitor", "tea") is None
    assert monitoring.state("alerts", "wine") is None


def test_pages_of_alarms_have_each_once_though_many_were_raised_at_the_same_moment(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    everything = [alarm(f"a{number:02}", 10.0 + number // 4) for number in range(25)]
    monitoring.save("monitor", {}, alarms=everything)
    seen, before = [], None
    while page := monitoring.alarm_page(AlarmQuery(before=before), 7):
        seen += page
        before = (page[-1].raised_at, page[-1].id)
    assert seen == sorted(everything, key=lambda each: (each.raised_at, each.id), reverse=True)


def test_alarms_are_asked_for_by_model_kind_and_whether_they_are_open(open_catalog):
    monitoring = registry_over(open_catalog()).monitoring
    ended = msgspec.structs.replace(alarm("a", 10.0), ended_at=30.0)
    # What a text says of a kind is no kind.
    text = '"kind":"decay" and \\"kind\\":\\"decay\\"'
    quoting = msgspec.structs.replace(alarm("b", 20.0), text=text)
    decay = msgspec.structs.replace(alarm("c", 30.0, "wine"), kind="decay")
    monitoring.save("monitor", {}, alarms=[ended, quoting, decay])

    def ids(**asked) -> str:
        return "".join(each.id for each in monitoring.alarm_page(AlarmQuery(**asked), 10))

    assert ids() == "cba"
    assert (ids(name="iris"), ids(name="tea")) == ("ba", "")
    assert (ids(kind="drift"), ids(kind="decay"), ids(kind="slice")) == ("ba", "c", "")
    assert (ids(is_open=True), ids(is_open=False)) == ("cb", "a")
    assert ids(name="iris", kind="drift", is_open=True, before=(25.0, "")) == "b"
