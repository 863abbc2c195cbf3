"""Releases over every catalog: one is current, tags follow it, history is only added to."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.errors import LadingError, ModelNotFound, StaleRelease, UsageError, VersionNotFound
from lading.ref import Ref
from lading.registry import Registry
from lading.release import EventDraft, Plan, Release, verify_chain
from lading.release.undo import rollback_target, rollbacks
from support import release_processes as releasing
from support.registries import registry_over

CANARY = Plan(mode="canary", steps=(5, 25, 100), gates={"error_rate": 0.01})
STEP = EventDraft(kind="step", actor="driver")
DAY_S = 86400.0


@pytest.fixture
def registry(three_versions) -> Registry:
    return three_versions


def tags(catalog, name: str = "iris") -> dict[str, int]:
    return {tag: version.version for version in catalog.versions.of(name) for tag in version.tags}


def test_a_model_without_a_release_has_none(registry):
    assert registry.releases.current("iris") is None
    assert registry.releases.wanted() == registry.releases("iris") == registry.releases.events() == []
    assert registry.releases.current("wine") is None
    with pytest.raises(ModelNotFound, match="wine"):
        registry.releases("wine")


def test_a_release_is_read_as_it_was_written_on_other_connections_too(registry, open_catalog):
    registry.releases.begin("iris", 1, actor="ann", runtime="0123456789ab")
    canary = registry.releases.begin("iris", 2, CANARY, actor="bob; 'quoted'")
    elsewhere = registry_over(open_catalog())
    assert elsewhere.releases.current("iris") == canary
    assert elsewhere.releases.wanted() == [canary]
    assert [release.number for release in elsewhere.releases("iris")] == [2, 1]
    assert canary.plan.is_same(CANARY)


def test_the_last_events_of_a_model_come_newest_first(registry):
    for version in (1, 2, 3):
        registry.releases.begin("iris", version, actor="ann")
    events = registry.releases.events("iris")
    assert registry.releases.last_events("iris", 2) == events[:-3:-1]
    assert registry.releases.last_events("iris", 99) == events[::-1]
    assert registry.releases.last_events("wine", 9) == []


def test_every_release_deals_the_keys_of_callers_again(registry):
    registry.releases.begin("iris", 1, actor="ann")
    salts = {registry.releases.begin("iris", 2, CANARY, actor="ann").plan.salt for _ in range(3)}
    assert len(salts) == 3
    assert all(len(salt) == 16 for salt in salts)
    assert registry.releases.current("iris").plan.salt in salts


def test_the_tags_live_and_candidate_follow_the_release(registry, catalog):
    registry.releases.begin("iris", 1, actor="ann")
    assert tags(catalog) == {"live": 1}
    release = registry.releases.begin("iris", 2, CANARY, actor="ann")
    assert tags(catalog) == {"live": 1, "candidate": 2}
    registry.releases.change(release, state="live", event=EventDraft(kind="promoted", actor="driver"))
    assert tags(catalog) == {"live": 2}
    registry.releases.rollback("iris", actor="ann")
    assert tags(catalog) == {"live": 1}


def test_a_version_that_does_not_exist_is_not_released(registry, catalog):
    with pytest.raises(VersionNotFound, match="expected version `9`"):
        registry.releases.begin("iris", 9, actor="ann")
    with pytest.raises(ModelNotFound, match="did you mean `iris`"):
        registry.releases.begin("irsi", 1, actor="ann")
    registry.releases.begin("iris", 1, actor="ann")
    with pytest.raises(VersionNotFound):
        registry.releases.begin("iris", 9, CANARY, actor="ann")
    assert len(registry.releases("iris")) == len(registry.releases.events()) == 1
    assert tags(catalog) == {"live": 1}


def test_a_new_release_supersedes_an_open_one(registry):
    registry.releases.begin("iris", 1, actor="ann")
    old = registry.releases.begin("iris", 2, CANARY, actor="ann")
    registry.releases.begin("iris", 3, CANARY, actor="bob")
    ended = registry.releases("iris")[1]
    assert (ended.state, ended.candidate, ended.epoch) == ("superseded", None, 2)
    assert [
        (event.kind, event.number, event.from_, event.to) for event in registry.releases.events("iris")
    ] == [
        ("released", 1, "", "1"),
        ("released", 2, "1", "2"),
        ("superseded", 2, "2", "3"),
        ("released", 3, "1", "3"),
    ]
    with pytest.raises(StaleRelease, match="found release 3, change 1, by `bob`"):
        registry.releases.change(old, step=1, event=STEP)


def test_a_change_of_a_stale_release_is_refused_and_changes_nothing(registry):
    registry.releases.begin("iris", 1, actor="ann")
    old = registry.releases.begin("iris", 2, CANARY, actor="ann")
    stepped = registry.releases.change(old, step=1, event=STEP)
    before = registry.releases.events()
    with pytest.raises(StaleRelease, match="expected change 1 of it to be the last"):
        registry.releases.change(old, state="paused", event=EventDraft(kind="paused", actor="ann"))
    assert registry.releases.current("iris") == stepped
    assert registry.releases.events() == before


def test_a_change_that_is_not_allowed_leaves_no_event(registry):
    registry.releases.begin("iris", 1, actor="ann")
    release = registry.releases.begin("iris", 2, CANARY, actor="ann")
    with pytest.raises(UsageError, match="none is skipped"):
        registry.releases.change(release, step=2, event=STEP)
    assert registry.releases.current("iris") == release
    assert [event.kind for event in registry.releases.events()] == ["released", "released"]


@pytest.mark.parametrize("changes", [{"live": 9}, {"candidate": 9}])
def test_a_change_to_a_version_that_does_not_exist_is_refused_and_changes_nothing(registry, changes):
    registry.releases.begin("iris", 1, actor="ann")
    release = registry.releases.begin("iris", 2, CANARY, actor="ann")
    with pytest.raises(VersionNotFound, match="expected version `9`"):
        registry.releases.change(release, event=STEP, **changes)
    assert registry.releases.current("iris") == release
    assert len(registry.releases.events()) == 2


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
    digests = [int(event.digest[7:], 16) for event in registry.releases.events()]
    assert digests == [1, 2, 2, 2, 1]
    assert [event.fingerprint for event in registry.releases.events()[1:]] == ["0123456789ab"] * 3 + [
        "f" * 12
    ]
    with pytest.raises(VersionNotFound):
        registry.releases.note(release, EventDraft(kind="failed", actor="a", version=9))


def test_a_rollback_is_a_new_release_of_what_was_live_with_its_runtime(registry):
    registry.releases.begin("iris", 1, actor="ann", runtime="111111111111")
    registry.releases.begin("iris", 2, actor="ann", runtime="222222222222")
    back = registry.releases.rollback("iris", actor="bob")
    assert (back.number, back.live, back.runtime, back.replaces) == (3, 1, "111111111111", 2)
    assert registry.releases.rollback("iris", to=3, actor="bob").runtime is None
    assert [event.kind for event in registry.releases.events()][-2:] == ["rolled_back", "rolled_back"]
    assert registry.releases.events()[-1].from_ == "1"


def test_a_rollback_to_a_named_version_supersedes_the_candidate(registry, catalog):
    registry.releases.begin("iris", 1, actor="ann")
    registry.releases.begin("iris", 2, CANARY, actor="ann")
    assert registry.releases.rollback("iris", to=1, actor="ann").live == 1
    assert tags(catalog) == {"live": 1}
    assert [release.state for release in registry.releases("iris")] == ["live", "superseded", "live"]


def test_a_rollback_needs_a_version_that_was_live_before(registry):
    for _ in range(2):
        with pytest.raises(VersionNotFound, match="expected a version that was live before"):
            registry.releases.rollback("iris", actor="ann")
        registry.releases.begin("iris", 1, actor="ann")


def test_a_second_rollback_does_not_take_away_what_the_first_brought_back(registry):
    for version in (1, 2, 3):
        registry.releases.begin("iris", version, actor="ann")
    assert registry.releases.rollback("iris", actor="ann").live == 2
    before = registry.releases.events()
    with pytest.raises(UsageError, match="expected a release that is no rollback itself"):
        registry.releases.rollback("iris", actor="bob")
    with pytest.raises(StaleRelease, match="release 3 of `iris`"):
        registry.releases.rollback("iris", release=3, actor="bob")
    with pytest.raises(StaleRelease, match="found release 4, `iris:2` live, by `ann`"):
        registry.releases.rollback("iris", release=3, to=1, actor="bob")
    assert registry.releases.events() == before
    assert registry.releases.rollback("iris", release=4, to=1, actor="bob").live == 1


def test_an_abort_takes_out_the_candidate_that_is_meant_whatever_its_step_and_no_other(registry, catalog):
    registry.releases.begin("iris", 1, actor="ann")
    canary = registry.releases.begin("iris", 2, CANARY, actor="ann")
    with pytest.raises(StaleRelease, match="found release 2, `iris:2` on its way, by `ann`"):
        registry.releases.abort("iris", release=1, actor="bob")
    registry.releases.change(canary, step=1, event=STEP)
    aborted = registry.releases.abort("iris", release=2, actor="bob", reason="wrong data")
    assert (aborted.state, aborted.live, aborted.reason) == ("rolled_back", 1, "wrong data")
    assert tags(catalog) == {"live": 1}
    last = registry.releases.events()[-1]
    assert (last.kind, last.actor, last.from_, last.to) == ("rolled_back", "bob", "2", "1")
    with pytest.raises(UsageError, match="expected a candidate on its way, found state `rolled_back`"):
        registry.releases.abort("iris", actor="bob")
    with pytest.raises(UsageError, match="expected a last release that went live"):
        registry.releases.rollback("iris", actor="bob")


def test_a_candidate_that_went_live_meanwhile_is_not_aborted_and_the_undo_is_named(registry):
    registry.releases.begin("iris", 1, actor="ann")
    canary = registry.releases.begin("iris", 2, CANARY, actor="ann")
    registry.releases.change(canary, state="live", event=EventDraft(kind="promoted", actor="driver"))
    with pytest.raises(UsageError, match="found state `live`") as caught:
        registry.releases.abort("iris", release=2, actor="bob")
    assert caught.value.hint == "`lading rollback iris --release 2` undoes it"
    with pytest.raises(ModelNotFound, match="wine"):
        registry.releases.abort("wine", actor="bob")


def test_a_release_is_begun_only_after_the_one_that_its_author_knows(registry):
    with pytest.raises(StaleRelease, match="expected it to be the last, found no release"):
        registry.releases.begin("iris", 1, actor="ann", after=1)
    registry.releases.begin("iris", 1, actor="ann", after=0)
    with pytest.raises(StaleRelease, match="expected none yet, found release 1, `iris:1` live"):
        registry.releases.begin("iris", 2, actor="bob", after=0)
    assert registry.releases.begin("iris", 2, actor="bob", after=1).live == 2


def test_the_evidence_of_an_event_is_read_as_it_was_written(registry):
    release = registry.releases.begin("iris", 1, actor="ann")
    evidence = {"p99_ms": 0.1 + 0.2, "counts": [1, 2**53], "words": "größer ≥ \0", "none": None}
    noted = registry.releases.note(release, EventDraft(kind="ready", actor="a", evidence=evidence))
    assert registry.releases.events()[-1] == noted
    assert noted.evidence == evidence
    assert verify_chain(registry.releases.events()) is None


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
    st.tuples(st.just("abort"), st.sampled_from([None, 1, 2, 3])),
    st.tuples(st.just("change"), CHANGES),
    st.tuples(st.just("stale"), CHANGES),
    st.tuples(st.just("note"), st.sampled_from([None, 1, 4])),
    st.tuples(st.just("remove"), st.integers(1, 3)),
)
NUMBERS = itertools.count()


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, max_size=14))
def test_whatever_is_done_one_release_is_current_and_the_chain_of_events_is_complete(catalog, acts):
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
            done = rollbacks(registry.releases.events(name))
            expected = to or rollback_target(name, registry.releases(name), done)
            assert registry.releases.rollback(name, to=to, actor="ann").live == expected
        case ("change" | "stale", changes) if seen:
            over = seen[-1] if act[0] == "change" else seen[0]
            fresh = over == registry.releases.current(name)
            registry.releases.change(over, event=STEP, **changes)
            assert fresh, "a change over an older state went through"
        case ("abort", number):
            current = registry.releases.current(name)
            done = registry.releases.abort(name, release=number, actor="ann")
            assert (done.state, done.live, done.number) == ("rolled_back", current.live, current.number)
            assert current.is_open
            assert number in (None, current.number), "another one was aborted"
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
    assert [release.number for release in history] == list(range(len(history), 0, -1))
    assert [release for release in registry.releases.wanted() if release.name == name] == history[:1]
    assert [registry.releases.current(name)] == (history[:1] or [None])
    assert all(not release.is_open for release in history[1:])
    named = {} if not history else {"live": history[0].live, "candidate": history[0].candidate}
    assert tags(catalog, name) == {tag: version for tag, version in named.items() if version is not None}
    changes = [event for event in events if event.kind != "ready"]
    assert sum(release.epoch for release in history) == len(changes)
    for version in tags(catalog, name).values():
        assert catalog.versions.find(Ref(name, version=version)) is not None
