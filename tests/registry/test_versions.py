"""Versions, tags and evidence over every pairing of catalog and store."""

from __future__ import annotations

import msgspec
import pytest

from lading.errors import (
    InvalidName,
    InvalidReference,
    ModelNotFound,
    StillInUse,
    TagNotFound,
    UsageError,
    VersionNotFound,
)
from lading.evidence import Evidence, Fingerprint
from lading.ref import Ref
from support.registries import registry_over
from support.release_processes import new_version


def test_a_bare_name_means_live_else_the_highest_version(registry, bundles):
    for bundle in bundles:
        registry.push(bundle)
    assert registry.resolve("iris").version == 3
    registry.tag("iris:2", "live", release=True)
    assert registry.resolve("iris").version == registry.resolve("iris:live").version == 2
    assert registry.resolve(Ref("iris", version=3)).version == 3
    assert registry.resolve(f"iris@{bundles[0].digest}").version == 1


ABSENT = [
    ("irsi", ModelNotFound, "did you mean `iris`?"),
    ("irsi:good", ModelNotFound, "did you mean `iris`?"),
    ("wine:1", ModelNotFound, "there is `iris`"),
    ("iris:3", VersionNotFound, "expected version `3`, found versions `1`, `2`"),
    (f"iris@sha256:{1:064x}", VersionNotFound, "found versions `1`, `2`"),
    ("iris:goood", TagNotFound, "did you mean `good`?"),
    ("iris:live", TagNotFound, "expected tag `live`, found `good`"),
    ("Iris", InvalidReference, "reference `Iris`"),
]


def test_a_reference_that_names_nothing_is_refused_with_a_hint_at_what_is_similar(registry, bundles):
    registry.push(bundles[0])
    registry.push(bundles[1], tags=["good"])
    for ref, error, words in ABSENT:
        for ask in (registry.resolve, registry.fetch):
            with pytest.raises(error) as caught:
                ask(ref)
            assert words in str(caught.value), ref


def test_an_empty_registry_says_how_to_push(registry):
    assert registry.models() == []
    with pytest.raises(ModelNotFound, match="lading push"):
        registry.resolve("iris")
    with pytest.raises(ModelNotFound, match="iris"):
        registry.versions("iris")


def test_tags_move_and_can_be_removed(registry, bundles):
    registry.push(bundles[0], tags=["good"])
    registry.push(bundles[1])
    assert registry.tag("iris:2", "good").tags == ("good",)
    assert registry.resolve("iris:good").version == 2
    registry.untag("iris", "good")
    with pytest.raises(TagNotFound, match="good"):
        registry.untag("iris", "good")
    with pytest.raises(ModelNotFound, match="iris"):
        registry.untag("irsi", "good")


@pytest.mark.parametrize("tag", ["live", "candidate"])
def test_only_a_release_moves_the_tags_live_and_candidate(registry, bundles, tag):
    for refused in (
        lambda: registry.push(bundles[0], tags=[tag]),
        lambda: registry.tag("iris:1", tag),
        lambda: registry.untag("iris", tag),
    ):
        with pytest.raises(UsageError, match=f"`{tag}`"):
            refused()
    assert registry.models() == []
    registry.push(bundles[0])
    assert registry.tag("iris:1", tag, release=True).tags == (tag,)
    registry.untag("iris", tag, release=True)


@pytest.mark.parametrize("tag", ["Good", "7", "", "a b"])
def test_an_invalid_tag_is_refused_before_anything_is_stored(registry, bundles, tag):
    with pytest.raises(InvalidName, match="tag"):
        registry.push(bundles[0], tags=["fine", tag])
    assert registry.models() == []


def test_a_removed_version_is_not_found_and_its_number_not_used_again(registry, bundles):
    registry.push(bundles[0])
    registry.push(bundles[1], tags=["good"])
    registry.remove("iris:1")
    with pytest.raises(VersionNotFound):
        registry.fetch("iris:1")
    assert registry.push(bundles[0]).version == 3
    with pytest.raises(StillInUse, match="good"):
        registry.remove("iris:2")
    with pytest.raises(VersionNotFound):
        registry.remove("iris:9")


@pytest.mark.parametrize("ref", ["iris", "iris:good"])
def test_only_a_version_named_by_number_or_digest_is_removed(registry, bundles, ref):
    registry.push(bundles[0], tags=["good"])
    with pytest.raises(UsageError, match="iris:3"):
        registry.remove(ref)


def test_evidence_is_stored_by_bundle_and_fingerprint(open_registry, bundles):
    fingerprint = Fingerprint(
        lading="0.1.0", python="3.11.7", onnxruntime="1.30", numpy="2.4", os="linux", arch="x86_64"
    )
    evidence = Evidence(
        bundle=bundles[0].digest,
        name="iris",
        fingerprint=fingerprint,
        checks=(),
        numbers={"size_mb": 0.1},
        measured_at="2026-11-20T08:00:00Z",
    )
    open_registry().record(evidence)
    assert open_registry().evidence() == open_registry().evidence(bundles[0].digest) == [evidence]
    assert open_registry().evidence(bundles[1].digest) == []
    with pytest.raises(UsageError, match="size_mb"):
        open_registry().record(msgspec.structs.replace(evidence, numbers={"size_mb": float("nan")}))


def test_the_newest_versions_of_all_models_and_pages_of_one_come_highest_first(catalog):
    for name, count in (("iris", 3), ("churn", 1)):
        for number in range(1, count + 1):
            catalog.versions.add(new_version(name, number), [], lambda: None)
    catalog.versions.tag("iris", 2, "good")
    versions = registry_over(catalog).versions
    assert [(version.name, version.version) for version in versions.newest()] == [("churn", 1), ("iris", 3)]
    assert [(each.version, each.tags) for each in versions.page("iris", limit=2)] == [(3, ()), (2, ("good",))]
    assert [version.version for version in versions.page("iris", below=2)] == [1]
    assert versions.page("iris", below=1) == []
    with pytest.raises(ModelNotFound, match="did you mean `iris`"):
        versions.page("irsi")
    # The number of a removed version is not its name any more.
    versions.remove("iris:3")
    assert [version.version for version in versions.newest()] == [1, 2]
