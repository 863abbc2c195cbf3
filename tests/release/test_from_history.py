"""What a history says is live, over everything that happens to releases."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.errors import LadingError
from lading.registry.open import open_catalog
from lading.release import EventDraft, Plan
from lading.release.from_history import contradiction, live_versions
from lading.rollout import moves
from support import release_processes as releasing
from support.registries import registry_over

PLANS = st.sampled_from(
    [None, Plan(mode="canary", steps=(5, 50)), Plan(mode="shadow"), Plan(mode="ab"), Plan(mode="live")]
)
ACTS = st.one_of(
    st.tuples(st.just("release"), st.integers(1, 3), PLANS),
    st.tuples(st.just("rollback"), st.sampled_from([None, 1, 2])),
    st.tuples(
        st.sampled_from(["promote", "abort", "roll back", "pause", "resume", "refuse", "note refused"])
    ),
    st.tuples(st.just("ready"), st.integers(1, 3)),
)
NUMBERS = itertools.count()


@pytest.fixture
def catalog(tmp_path):
    opened = open_catalog(str(tmp_path / "registry"))
    yield opened
    opened.close()


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, max_size=12))
def test_what_lading_does_never_contradicts_the_history(catalog, acts):
    name, registry = f"m{next(NUMBERS)}", registry_over(catalog)
    for bundle in (1, 2, 3):
        catalog.versions.add(releasing.new_version(name, bundle), (), lambda: None)
    for act in acts:
        try:
            do(registry, name, act)
        except LadingError:
            continue
        current, events = registry.releases.current(name), registry.releases.events(name)
        if current is None:
            continue
        assert contradiction(current, events) is None
        for other in {1, 2, 3, None} - set(live_versions(events)):
            wrong = contradiction(msgspec.structs.replace(current, live=other), events)
            assert wrong is not None
            assert "is live" in wrong


def do(registry, name, act) -> None:
    releases = registry.releases
    current = releases.current(name)
    match act:
        case ("release", version, plan):
            releases.begin(name, version, plan, actor="ann")
        case ("rollback", to):
            releases.rollback(name, to=to, actor="ann")
        case ("promote",) if current is not None:
            moves.apply(registry, current, moves.promoted(current, "ann", ""))
        case ("roll back",) if current is not None:
            moves.apply(registry, current, moves.rolled_back(current, "driver", ""))
        case ("pause",) if current is not None:
            moves.apply(registry, current, moves.paused(current, "ann", ""))
        case ("resume",) if current is not None:
            moves.apply(registry, current, moves.resumed(current, "ann", ""))
        case ("abort",):
            releases.abort(name, actor="ann")
        case ("refuse",) if current is not None and current.can_be_refused:
            refused = EventDraft(kind="refused", actor="web-1")
            releases.change(current, state="refused", event=refused)
        case ("note refused",) if current is not None:
            releases.note(current, EventDraft(kind="refused", actor="web-1"))
        case ("ready", version) if current is not None:
            releases.note(current, EventDraft(kind="ready", actor="web-1", version=version))


@pytest.fixture
def canary(catalog):
    """Return a registry with version 1 live and version 2 on its way."""
    registry = registry_over(catalog)
    for number in (1, 2, 3):
        catalog.versions.add(releasing.new_version(bundle=number), (), lambda: None)
    registry.releases.begin("iris", 1, actor="ann")
    registry.releases.begin("iris", 2, Plan(mode="canary"), actor="ann")
    return registry


def test_a_candidate_that_nobody_released_is_named(canary):
    current, events = canary.releases.current("iris"), canary.releases.events("iris")
    wrong = contradiction(msgspec.structs.replace(current, candidate=3), events)
    assert wrong == "its row says that the candidate is version 3, its history version 2"


def test_an_altered_event_is_named(canary):
    current, events = canary.releases.current("iris"), canary.releases.events("iris")
    events[0] = msgspec.structs.replace(events[0], to="3")
    assert (
        contradiction(current, events)
        == "event 1 of its history was altered, or follows one that was removed"
    )


def test_a_release_whose_plan_is_not_in_the_history_may_have_gone_live(canary):
    events = [
        msgspec.structs.replace(event, evidence={}) for event in canary.releases.events("iris")
    ]  # As their authors might have written them.
    assert live_versions(events) == [None, 1, 2]
