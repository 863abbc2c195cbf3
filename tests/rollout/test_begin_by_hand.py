"""What comes before a release that a person begins."""

from __future__ import annotations

import pytest

from lading.errors import StaleRelease, VerificationError
from lading.registry import Registry
from lading.release import Plan
from lading.rollout.begin_by_hand import Wish, begin_by_hand
from lading.rollout.by_hand import Meant
from lading.rollout.preflight import proved_already
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved

CANARY = Plan(mode="canary", steps=(5, 25))


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as opened:
        for seed in (1, 2):
            push_proved(opened, linear_bundle(tmp_path / f"{seed}.bundle", seed=seed))
        opened.push(linear_bundle(tmp_path / "3.bundle", seed=3))
        opened.releases.begin("iris", 1, actor="ada")
        yield opened


def begin(registry, version: int, plan: Plan = CANARY, after: Meant | None = None):
    wish = Wish(registry.resolve(f"iris:{version}"), plan, "ann", "better")
    return begin_by_hand(registry, wish, lambda known: proved_already(registry, known), after)


def test_a_version_is_released_with_the_proof_that_was_asked_for(registry):
    begun = begin(registry, 2, after=Meant(1, 1))
    assert begun.evidence is not None
    assert (begun.release.candidate, begun.release.runtime) == (2, begun.evidence.fingerprint.id)
    assert (begun.before.number, begun.differences, begun.gates_met) == (1, (), ())


def test_the_same_wish_once_more_changes_nothing(registry):
    first = begin(registry, 2)
    again = begin(registry, 2)
    assert (again.evidence, again.release) == (None, first.release)


@pytest.mark.parametrize("after", [Meant(0), Meant(2), Meant(1, 7)])
def test_a_release_over_another_one_than_its_author_saw_is_refused(registry, after):
    with pytest.raises(StaleRelease):
        begin(registry, 2, after=after)
    assert registry.releases.current("iris").number == 1


def test_without_a_proof_nothing_is_begun(registry):
    with pytest.raises(VerificationError) as caught:
        begin(registry, 3)
    assert caught.value.hint == "`lading verify iris:3` makes it"
    assert registry.releases.current("iris").number == 1
