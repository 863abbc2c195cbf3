"""What every catalog keeps to about registry: one is current, tags move with it, history only grows."""

from __future__ import annotations

import itertools
import multiprocessing
import time

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from lading.errors import LadingError, ModelNotFound, StaleRelease, UsageError, VersionNotFound
from lading.ref import Ref
from lading.registry import Registry
from lading.registry.records import Removed
from lading.release import EventDraft, Plan, Release, rollback_target, verify_chain
from lading.replica import GONE_AFTER_S, Replica, ReplicaModel
from lading.traffic import FeedbackCounts, ShadowCounts, Window
from support import release_processes as releasing
from support.registries import registry_over

CANARY = Plan(mode="canary", steps=(5, 25, 100), gates={"error_rate": 0.01})
STEP = EventDraft(kind="step", actor="driver")
DAY_S = 86400.0


@pytest.fixture
def registry(catalog) -> Registry:
    for number in (1, 2, 3):
        catalog.versions.add(releasing.new_version(bundle=number), (), lambda: None)
    return registry_over(catalog)


def tags(catalog, name: str = "iris") -> dict[str, int]:
    return {tag: one.version for one in catalog.versions.of(name) for tag in one.tags}


def window(**changes) -> Window:
    fields = {
        "name": "iris",
        "release": 1,
        "version": 2,
        "digest": f"sha256:{2:064x}",
        "replica": "a",
        "at": 1_000_000.0,
        "seconds": 1.0,
        "requests": 7,
        "errors": {"RunFailed": 1},
        "latency": (0, 3, 4),
        "outputs": {"setosa": 6},
        "shadow": ShadowCounts(agreed=1),
        "feedback": FeedbackCounts(wrong=2),
    }
    return Window(**{**fields, **changes})


def test_a_model_without_a_release_has_none(registry):
    assert registry.releases.current("iris") is None
    assert registry.releases.wanted() == registry.releases("iris") == registry.releases.events() == []
    assert registry.releases.current("wine") is None
    with pytest.raises(ModelNotFound, match="wine"):
        registry.releases("wine")


def test_a_release_comes_out_as_it_went_in_also_elsewhere(registry, open_catalog):
    registry.releases.begin("iris", 1, actor="ann", runtime="0123456789ab")
    canary = registry.releases.begin("iris", 2, CANARY, actor="bob; 'quoted'")
    elsewhere = registry_over(open_catalog())
    assert elsewhere.releases.current("iris") == canary
    assert elsewhere.releases.wanted() == [canary]
    assert [one.number for one in elsewhere.releases("iris")] == [2, 1]
    assert canary.plan == CANARY


def test_the_tags_go_where_the_release_says(registry, catalog):
    registry.releases.begin("iris", 1, actor="ann")
    assert tags(catalog) == {"live": 1}
    release = registry.releases.begin("iris", 2, CANARY, actor="ann")
    assert tags(catalog) == {"live": 1, "candidate": 2}
    registry.releases.change(release, state="live", event=EventDraft(kind="promoted", actor="driver"))
    assert tags(catalog) == {"live": 2}
    registry.releases.rollback("iris", actor="ann")
    assert tags(catalog) == {"live": 1}


def test_what_is_not_there_is_not_released(registry, catalog):
    with pytest.raises(VersionNotFound, match="expected version `9`"):
        registry.releases.begin("iris", 9, actor="ann")
    with pytest.raises(ModelNotFound, match="did you mean `iris`"):
        registry.releases.begin("irsi", 1, actor="ann")
    registry.releases.begin("iris", 1, actor="ann")
    with pytest.raises(VersionNotFound):
        registry.releases.begin("iris", 9, CANARY, actor="ann")
    assert len(registry.releases("iris")) == len(registry.releases.events()) == 1
    assert tags(catalog) == {"live": 1}


def test_a_new_release_supersedes_one_on_its_way(registry):
    registry.releases.begin("iris", 1, actor="ann")
    old = registry.releases.begin("iris", 2, CANARY, actor="ann")
    registry.releases.begin("iris", 3, CANARY, actor="bob")
    ended = registry.releases("iris")[1]
    assert (ended.state, ended.candidate, ended.epoch) == ("superseded", None, 2)
    assert [(one.kind, one.number, one.from_, one.to) for one in registry.releases.events("iris")] == [
        ("released", 1, "", "1"),
        ("released", 2, "1", "2"),
        ("superseded", 2, "2", "3"),
        ("released", 3, "1", "3"),
    ]
    with pytest.raises(StaleRelease, match="found release 3, change 1, by `bob`"):
        registry.releases.change(old, step=1, event=STEP)


def test_a_change_over_an_older_state_is_refused_and_changes_nothing(registry):
    registry.releases.begin("iris", 1, actor="ann")
    seen = registry.releases.begin("iris", 2, CANARY, actor="ann")
    stepped = registry.releases.change(seen, step=1, event=STEP)
    before = registry.releases.events()
    with pytest.raises(StaleRelease, match="expected change 1 of it to be the last"):
        registry.releases.change(seen, state="paused", event=EventDraft(kind="paused", actor="ann"))
    assert registry.releases.current("iris") == stepped
    assert registry.releases.events() == before


def test_a_change_that_leads_nowhere_leaves_no_event(registry):
    registry.releases.begin("iris", 1, actor="ann")
    release = registry.releases.begin("iris", 2, CANARY, actor="ann")
    with pytest.raises(UsageError, match="none is skipped"):
        registry.releases.change(release, step=2, event=STEP)
    assert registry.releases.current("iris") == release
    assert [one.kind for one in registry.releases.events()] == ["released", "released"]


def test_an_event_names_the_bundle_that_it_is_about(registry):
    registry.releases.begin("iris", 1, actor="ann")
    release = registry.releases.begin("iris", 2, CANARY, actor="ann", runtime="0123456789ab")
    registry.releases.note(release, EventDraft(kind="ready", actor="replica-a"))
    registry.releases.change(
        release, state="rolled_back", event=EventDraft(kind="rolled_back", actor="driver")
    )
    registry.releases.note(
        release, EventDraft(kind="failed", actor="replica-b", version=1, fingerprint="f" * 12)
    )
    digests = [int(one.digest[7:], 16) for one in registry.releases.events()]
    assert digests == [1, 2, 2, 2, 1]
    assert [one.fingerprint for one in registry.releases.events()[1:]] == ["0123456789ab"] * 3 + ["f" * 12]
    with pytest.raises(VersionNotFound):
        registry.releases.note(release, EventDraft(kind="failed", actor="a", version=9))


def test_a_rollback_is_a_new_release_of_what_was_live_with_its_runtime(registry):
    registry.releases.begin("iris", 1, actor="ann", runtime="111111111111")
    registry.releases.begin("iris", 2, actor="ann", runtime="222222222222")
    back = registry.releases.rollback("iris", actor="bob")
    assert (back.number, back.live, back.runtime, back.replaces) == (3, 1, "111111111111", 2)
    assert registry.releases.rollback("iris", to=3, actor="bob").runtime is None
    assert [one.kind for one in registry.releases.events()][-2:] == ["rolled_back", "rolled_back"]
    assert registry.releases.events()[-1].from_ == "1"


def test_a_rollback_takes_a_candidate_away(registry, catalog):
    registry.releases.begin("iris", 1, actor="ann")
    registry.releases.begin("iris", 2, CANARY, actor="ann")
    assert registry.releases.rollback("iris", actor="ann").live == 1
    assert tags(catalog) == {"live": 1}
    assert [one.state for one in registry.releases("iris")] == ["live", "superseded", "live"]


def test_a_rollback_to_nothing_says_so(registry):
    for _ in range(2):
        with pytest.raises(VersionNotFound, match="expected a version that was live before"):
            registry.releases.rollback("iris", actor="ann")
        registry.releases.begin("iris", 1, actor="ann")


def test_history_cannot_be_changed_behind_the_chain(registry, catalog):
    registry.releases.begin("iris", 1, actor="ann")
    for statement in ("UPDATE events SET actor = 'bob'", "DELETE FROM events"):
        with (
            pytest.raises(Exception, match="never changed"),
            catalog.database.transaction("write") as connection,
        ):
            connection.execute(text(statement))
    assert verify_chain(registry.releases.events()) is None
    assert [one.actor for one in registry.releases.events()] == ["ann"]


def test_evidence_of_an_event_comes_out_as_it_went_in(registry):
    release = registry.releases.begin("iris", 1, actor="ann")
    evidence = {"p99_ms": 0.1 + 0.2, "counts": [1, 2**53], "words": "größer ≥ \0", "none": None}
    noted = registry.releases.note(release, EventDraft(kind="ready", actor="a", evidence=evidence))
    assert registry.releases.events()[-1] == noted
    assert noted.evidence == evidence
    assert verify_chain(registry.releases.events()) is None


def test_a_version_that_one_can_go_back_to_is_not_removed(registry, catalog):
    registry.releases.begin("iris", 1, actor="ann")
    registry.releases.begin("iris", 2, actor="ann")
    assert catalog.versions.remove("iris", 1, keep_releases=10) == ("release 1", "release 2")
    assert catalog.versions.remove("iris", 1, keep_releases=1) == ("release 2",)
    registry.releases.begin("iris", 2, actor="ann")
    assert catalog.versions.remove("iris", 2, keep_releases=1) == ("tag `live`", "release 3")
    assert catalog.versions.remove("iris", 1, keep_releases=1) == ()


def test_a_version_that_a_replica_runs_is_not_removed_nor_unpacked_anew(registry, catalog):
    loaded = ReplicaModel(name="iris", version=3, digest=f"sha256:{3:064x}")
    registry.fleet.beat(Replica(id="host-1", models=(loaded,)))
    assert catalog.versions.remove("iris", 3, keep_releases=10) == ("replica `host-1`",)
    assert registry.fleet.forget("host-1")
    assert catalog.versions.remove("iris", 3, keep_releases=10) == ()
    registry.fleet.beat(Replica(id="host-1", models=(loaded,)))
    assert f"sha256:{3:064x}" in catalog.versions.kept()[1]


def test_windows_come_out_as_they_went_in_and_count_once(registry):
    some = [window(at=3.0), window(at=1.0), window(at=2.0, version=1), window(release=2)]
    registry.traffic.add_windows(some)
    registry.traffic.add_windows([*some[:2], window(at=4.0)])
    registry.traffic.add_windows([])
    found = registry.traffic.windows("iris", 1)
    assert [one.at for one in found] == [1.0, 2.0, 3.0, 4.0]
    assert found[0] == some[1]
    assert [one.at for one in registry.traffic.windows("iris", 1, since=3.0)] == [3.0, 4.0]
    assert registry.traffic.windows("wine", 1) == []


def test_windows_are_pruned_by_age_but_not_those_of_an_open_release(registry, catalog):
    now = time.time()
    registry.releases.begin("iris", 1, actor="ann")
    release = registry.releases.begin("iris", 2, CANARY, actor="ann")
    old = [window(release=number, at=now - 2 * DAY_S) for number in (1, 2)]
    registry.traffic.add_windows([*old, window(release=1, at=now)])
    assert [one.name for one in catalog.traffic.prune(DAY_S, dry_run=True)] == ["1 windows"]
    assert [one.name for one in catalog.traffic.prune(DAY_S, dry_run=False)] == ["1 windows"]
    assert catalog.traffic.prune(DAY_S, dry_run=False) == []
    assert registry.traffic.windows("iris", 2) == [old[1]]
    registry.releases.change(release, state="live", event=STEP)
    assert catalog.traffic.prune(-1.0, dry_run=False) == [Removed("old windows", "2 windows", 0)]


def test_replicas_are_pruned_once_their_last_heartbeat_is_old(registry, catalog):
    registry.fleet.beat(Replica(id="a"))
    assert catalog.fleet.prune(DAY_S, dry_run=False) == []
    for dry_run in (True, False):
        assert catalog.fleet.prune(-1.0, dry_run=dry_run) == [Removed("old replicas", "1 replicas", 0)]
    assert registry.fleet.replicas() == []


def test_a_lease_has_one_holder_until_it_runs_out(registry, open_catalog):
    other = registry_over(open_catalog())
    assert registry.fleet.lease_holder("rollout") is None
    assert registry.fleet.lease("rollout", "a", 0.5)
    assert other.fleet.lease_holder("rollout") == "a"
    assert not other.fleet.lease("rollout", "b", 0.5)
    assert other.fleet.lease("something else", "b", 60)
    assert registry.fleet.lease("rollout", "a", 0.5)
    time.sleep(0.6)
    assert other.fleet.lease_holder("rollout") is None
    assert other.fleet.lease("rollout", "b", 60)
    assert not registry.fleet.lease("rollout", "a", 60)
    registry.fleet.release_lease("rollout", "a")
    assert registry.fleet.lease_holder("rollout") == "b"
    assert not registry.fleet.lease("rollout", "a", 60)
    other.fleet.release_lease("rollout", "b")
    assert registry.fleet.lease("rollout", "a", 60)
    with pytest.raises(UsageError, match="a time above 0"):
        registry.fleet.lease("rollout", "a", 0)


def test_a_replica_comes_out_as_it_went_in_and_is_gone_when_silent(registry, catalog):
    said = Replica(id="b", host="h", cpus=1.5, packages={"numpy": "2.4"}, started_at="2026-11-20T08:00:00Z")
    registry.fleet.beat(said)
    registry.fleet.beat(Replica(id="a"))
    found = registry.fleet.replicas()
    assert [one.id for one in found] == ["a", "b"]
    assert msgspec.structs.replace(found[1], last_seen_at="", silent_s=0.0) == said
    assert 0 <= found[1].silent_s < 5
    assert not found[1].gone
    with catalog.database.transaction("write") as connection:
        connection.execute(text("UPDATE replicas SET last_seen_at = last_seen_at - 100 WHERE id = 'a'"))
    assert [(one.id, one.gone) for one in registry.fleet.replicas()] == [("a", True), ("b", False)]
    assert [one.id for one in registry.fleet.replicas(include_gone_days=0)] == ["b"]
    assert registry.fleet.replicas()[0].silent_s > 100 > GONE_AFTER_S
    registry.fleet.beat(Replica(id="a", host="back"))
    assert [(one.host, one.gone) for one in registry.fleet.replicas()] == [("back", False), ("h", False)]
    assert (registry.fleet.forget("a"), registry.fleet.forget("a")) == (True, False)


@pytest.mark.slow
def test_four_processes_that_change_one_release_lose_no_update(registry, catalog_url):
    registry.releases.begin("iris", 1, actor="ann")
    registry.releases.begin("iris", 2, CANARY, actor="ann")
    processes, times = multiprocessing.get_context("forkserver"), 25
    results = processes.Queue()
    running = [
        processes.Process(target=releasing.add_weight, args=(catalog_url, times, results)) for _ in range(4)
    ]
    for process in running:
        process.start()
    quicker = [results.get(timeout=60) for _ in running]
    for process in running:
        process.join(60)
    done = registry.releases.current("iris")
    assert (done.epoch, done.weight_percent) == (1 + 4 * times, 5 + 4 * times * 0.25)
    assert sum(quicker) > 0, "they never met: the test proves nothing"
    events = registry.releases.events("iris")
    assert len(events) == 2 + 4 * times
    assert verify_chain(events) is None
    assert [float(one.to) for one in events[2:]] == [5.25 + 0.25 * number for number in range(4 * times)]


MODES = st.sampled_from([None, Plan(mode="canary", steps=(5, 50)), Plan(mode="shadow"), Plan(mode="ab")])
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "step": st.integers(0, 2),
        "weight_percent": st.floats(0, 100),
        "state": st.sampled_from(["running", "paused", "live", "rolled_back", "refused"]),
        "live": st.sampled_from([1, 2, 4]),
        "candidate": st.sampled_from([None, 2, 4]),
    },
)
ACTS = st.one_of(
    st.tuples(st.just("release"), st.integers(1, 4), MODES),
    st.tuples(st.just("rollback"), st.sampled_from([None, None, 1, 2, 4])),
    st.tuples(st.just("change"), CHANGES),
    st.tuples(st.just("stale"), CHANGES),
    st.tuples(st.just("note"), st.sampled_from([None, 1, 4])),
    st.tuples(st.just("remove"), st.integers(1, 3)),
)
NUMBERS = itertools.count()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, max_size=14))
def test_whatever_is_done_one_release_is_current_and_the_chain_is_whole(catalog, acts):
    name, registry = f"m{next(NUMBERS)}", registry_over(catalog)
    for bundle in (1, 2, 3):
        catalog.versions.add(releasing.new_version(name, bundle), (), lambda: None)
    seen: list[Release] = []
    for act in acts:
        before = (registry.releases.current(name), registry.releases.events(name))
        try:
            do(registry, catalog, name, seen, act)
        except LadingError:
            assert (registry.releases.current(name), registry.releases.events(name)) == before
        check(registry, catalog, name)
        if (current := registry.releases.current(name)) is not None:
            seen.append(current)


def do(registry, catalog, name, seen, act) -> None:
    match act:
        case ("release", version, plan):
            registry.releases.begin(name, version, plan, actor="ann")
        case ("rollback", to):
            expected = to or rollback_target(registry.releases(name))
            assert registry.releases.rollback(name, to=to, actor="ann").live == expected
        case ("change" | "stale", changes) if seen:
            over = seen[-1] if act[0] == "change" else seen[0]
            fresh = over == registry.releases.current(name)
            registry.releases.change(over, event=STEP, **changes)
            assert fresh, "a change over an older state went through"
        case ("note", version) if seen:
            registry.releases.note(seen[-1], EventDraft(kind="ready", actor="a", version=version))
        case ("remove", version):
            catalog.versions.remove(name, version, keep_releases=3)


def check(registry, catalog, name) -> None:
    history, events = (
        registry.releases(name) if catalog.versions.of(name) else [],
        registry.releases.events(name),
    )
    assert verify_chain(events) is None
    assert [one.number for one in history] == list(range(len(history), 0, -1))
    assert [one for one in registry.releases.wanted() if one.name == name] == history[:1]
    assert [registry.releases.current(name)] == (history[:1] or [None])
    assert all(not one.is_open for one in history[1:])
    named = {} if not history else {"live": history[0].live, "candidate": history[0].candidate}
    assert tags(catalog, name) == {tag: version for tag, version in named.items() if version is not None}
    changes = [one for one in events if one.kind != "ready"]
    assert sum(one.epoch for one in history) == len(changes)
    for version in tags(catalog, name).values():
        assert catalog.versions.find(Ref(name, version=version)) is not None
