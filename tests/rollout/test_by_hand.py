"""What a person does to a release, over a real catalog."""

from __future__ import annotations

import pytest

from lading.errors import ModelNotFound, StaleRelease, UsageError, VersionNotFound
from lading.registry.open import open_catalog
from lading.release import Plan, verify_chain
from lading.rollout.by_hand import Meant, abort, current_release, pause, promote, resume, roll_back, target_of
from support.registries import registry_over
from support.release_processes import new_version
from support.rollout_processes import two_versions

CANARY = Plan(mode="canary", steps=(5, 25))
WHO = {"actor": "ada", "reason": "because"}


@pytest.fixture
def registry(tmp_path):
    """Yield a registry in which release 2 sends 5 % of requests to version 2."""
    opened = two_versions(str(tmp_path / "registry"))
    opened.releases.begin("iris", 2, CANARY, actor="ada")
    yield opened
    opened.catalog.close()


def test_the_newest_release_is_the_current_one(registry):
    assert current_release(registry, "iris").number == 2


def test_a_model_without_a_release_is_an_error_with_a_hint(tmp_path):
    registry = registry_over(open_catalog(str(tmp_path / "empty")))
    registry.catalog.versions.add(new_version(), (), lambda: None)
    with pytest.raises(VersionNotFound) as caught:
        current_release(registry, "iris")
    assert caught.value.hint == "`lading release iris:1` releases version 1"
    with pytest.raises(ModelNotFound):
        current_release(registry, "none")


def test_an_act_on_a_release_that_somebody_changed_meanwhile_is_refused(registry):
    seen = Meant(2, current_release(registry, "iris").epoch)
    assert pause(registry, "iris", seen, **WHO).release.state == "paused"
    for act in (pause, resume):
        with pytest.raises(StaleRelease, match="expected change 1 of it to be the last, found change 2"):
            act(registry, "iris", seen, **WHO)
    with pytest.raises(StaleRelease):
        promote(registry, "iris", seen, to="25", **WHO)
    assert current_release(registry, "iris").epoch == 2


def test_a_step_is_taken_once_however_often_it_is_wished(registry):
    assert promote(registry, "iris", Meant(2), to="25", **WHO).changed
    assert not promote(registry, "iris", Meant(2), to="25", **WHO).changed
    assert promote(registry, "iris", Meant(2), to="live", **WHO).release.live == 2
    assert not promote(registry, "iris", Meant(2), to="live", **WHO).changed


def test_a_step_without_its_goal_is_refused_and_named(registry):
    with pytest.raises(UsageError) as caught:
        promote(registry, "iris", Meant(2), to=None, **WHO)
    assert "lading rollout promote iris --release 2 --to 25" in caught.value.hint


def test_a_candidate_is_taken_out_whatever_its_step_is_by_now(registry):
    seen = Meant(2, current_release(registry, "iris").epoch)
    promote(registry, "iris", Meant(2), to="25", **WHO)
    assert abort(registry, "iris", seen, **WHO).release.state == "rolled_back"
    assert not abort(registry, "iris", seen, **WHO).changed


def test_a_rollback_goes_back_once(registry):
    promote(registry, "iris", Meant(2), to="25", **WHO)
    promote(registry, "iris", Meant(2), to="live", **WHO)
    assert target_of(registry, "iris", 2) == 1
    restored = roll_back(registry, "iris", 2, **WHO)
    assert (restored.release.live, restored.target, restored.evidence) == (1, 1, None)
    with pytest.raises(StaleRelease):
        roll_back(registry, "iris", 2, **WHO)
    assert verify_chain(registry.releases.events("iris")) is None
    assert [event.actor for event in registry.releases.events("iris")] == ["ada"] * 5
