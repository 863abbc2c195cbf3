"""Which version a request finds: by number, by tag, by release, or the newest that is ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lading.errors import ModelNotFound, ModelNotReady, TagNotFound, VersionNotFound
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.inference.version_table import VersionTable

READY, LOADING, DRAINING, FAILED = State.READY, State.LOADING, State.DRAINING, State.FAILED


def version(
    number: int, state: State = READY, name: str = "iris", tags: tuple[str, ...] = ()
) -> ServedVersion:
    return ServedVersion(name, number, f"sha256:{number:064x}", state, tags=tags)


def canary(candidate: int = 2, weight_percent: float = 0.0) -> Traffic:
    rule = (b"x-tier", b"gold", "candidate")
    return Traffic("iris", 1, "canary", 1, candidate, weight_percent, (rule,))


def table(versions: Sequence[ServedVersion], *releases: Traffic, default: str = "iris") -> VersionTable:
    return VersionTable.of(versions, {release.name: release for release in releases}, default)


def found(versions: VersionTable, *request: Any) -> tuple[str, int]:
    """Return name and number of the version that a request for a name, version and tag finds."""
    name, number, tag = (*request, None, None, None)[:3]
    served = versions.find(name, number, tag, "")
    return served.name, served.version


@pytest.mark.parametrize(
    ("states", "number"),
    [
        ((READY, READY), 2),
        ((READY, LOADING), 1),
        ((DRAINING, LOADING), 1),
        ((DRAINING, READY), 2),
        ((READY, FAILED), 1),
        ((LOADING, FAILED), 2),
    ],
)
def test_a_request_finds_the_newest_version_that_answers_else_the_newest(states, number):
    versions = table([version(number, state) for number, state in enumerate(states, 1)])
    assert found(versions, "iris") == ("iris", number)
    ready = [number for number, state in enumerate(states, 1) if state is READY]
    quick = versions.ready.get("iris")
    assert (quick.version if quick is not None else None) == max(ready, default=None)


def test_a_request_without_a_name_finds_the_default_model():
    versions = table([version(1, name="wine"), version(1)])
    assert found(versions) == ("iris", 1)
    assert versions.ready[None].name == "iris"


def test_a_version_is_found_by_its_number_or_a_tag_in_any_state():
    versions = table([version(1, tags=("stable",)), version(2, LOADING, tags=("next",))])
    assert found(versions, "iris", 2) == ("iris", 2)
    assert found(versions, "iris", None, "next") == ("iris", 2)
    with pytest.raises(VersionNotFound, match="expected version 1, 2, found 3"):
        found(versions, "iris", 3)
    with pytest.raises(TagNotFound, match="found `old`"):
        found(versions, "iris", None, "old")


def test_the_tags_of_a_release_are_those_of_now_and_not_of_the_load():
    versions = [version(1, tags=("candidate",)), version(2, tags=("live",))]
    assert found(table(versions, canary()), "iris", None, "live") == ("iris", 1)
    assert found(table(versions, canary()), "iris", None, "candidate") == ("iris", 2)
    assert found(table(versions), "iris", None, "live") == ("iris", 2)


def test_an_unknown_model_is_refused_with_those_that_are_known():
    with pytest.raises(ModelNotFound, match="one of the models here \\(`iris`, `wine`\\)"):
        found(table([version(1), version(1, name="wine")]), "rose")


@pytest.mark.parametrize(
    ("name", "reason", "error"),
    [("", "", ModelNotReady), ("iris", "catalog unreachable", ModelNotReady), ("iris", "", ModelNotFound)],
)
def test_without_models_a_named_model_is_not_found_unless_loading_gives_a_reason(name, reason, error):
    with pytest.raises(error):
        table([], default="").versions(name, reason)


def test_a_release_sends_callers_to_its_sides():
    live, candidate = version(1), version(2)
    versions = table([live, candidate], canary())
    assert versions.splits
    assert versions.side("iris", {b"x-tier": b"gold"}, lambda: 0.5) is candidate
    assert versions.side(None, {b"x-tier": b"gold"}, lambda: 0.5) is candidate
    assert versions.side("iris", {}, lambda: 0.5) is live
    assert versions.ready["iris"] is live
    assert found(versions, "iris") == ("iris", 1)
    assert versions.live("iris") is live
    assert versions.live("wine") is None


def test_a_candidate_that_is_not_ready_gets_no_requests():
    live = version(1)
    versions = table([live, version(2, LOADING)], canary())
    assert versions.side("iris", {b"x-tier": b"gold"}, lambda: 0.5) is live


def test_every_version_decides_about_readiness_unless_a_release_has_one_that_is_ready():
    versions = [version(1), version(2, FAILED)]
    assert table(versions).deciding() == versions
    assert table(versions, canary()).deciding() == []
    unready = [version(1, DRAINING), version(2, FAILED)]
    assert table(unready, canary()).deciding() == unready
