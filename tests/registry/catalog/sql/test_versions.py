"""Versions in SQL: they count 1, 2, 3 … and never change; tags move; evidence is only added."""

from __future__ import annotations

import threading

import pytest

from lading.errors import BlobNotFound
from lading.evidence import Check, Evidence, Fingerprint
from lading.ref import Ref
from lading.registry.records import NewVersion
from lading.replica import Replica, ReplicaModel


def new(name: str = "iris", bundle: int = 1, **changes) -> NewVersion:
    fields = {
        "name": name,
        "digest": f"sha256:{bundle:064x}",
        "blob": f"sha256:{bundle + 1000:064x}",
        "size_bytes": 2**33 + bundle,
        "purpose": "classification",
        "owner": "ml@example.com",
        "description": "Blüten; 'quoted' \"twice\"\n",
        "pushed_at": "2026-11-20T08:00:00Z",
        "metrics": {"accuracy": 0.1 + 0.2, "f1": 1e-300},
    }
    return NewVersion(**{**fields, **changes})


def add(catalog, name: str = "iris", bundle: int = 1, tags=()):
    return catalog.versions.add(new(name, bundle), tags, lambda: None)


def remove(catalog, version: int):
    return catalog.versions.remove("iris", version, keep_releases=10)


def evidence(bundle: int = 1, image: str | None = None, at: str = "2026-11-20T08:00:00Z") -> Evidence:
    fingerprint = Fingerprint(
        lading="0.1.0",
        python="3.11.7",
        onnxruntime="1.30",
        numpy="2.4",
        os="linux",
        arch="x86_64",
        image=image,
    )
    return Evidence(
        bundle=f"sha256:{bundle:064x}",
        name="iris",
        fingerprint=fingerprint,
        checks=(Check("golden", "passed", "within 1e-5", "3e-8"),),
        numbers={"latency_p99_ms": 0.25},
        measured_at=at,
    )


def test_versions_count_from_one_for_each_model(catalog):
    assert [add(catalog, "iris", number).version for number in (1, 2, 3)] == [1, 2, 3]
    assert add(catalog, "wine", 4).version == 1


def test_a_version_is_read_as_it_was_added_on_other_connections_too(open_catalog):
    added = add(open_catalog(), tags=["good"])
    version = open_catalog().versions.find(Ref("iris", version=1))
    assert version == added
    for field in new().__struct_fields__:
        assert getattr(version, field) == getattr(new(), field)
    assert version.tags == ("good",)


def test_a_digest_that_exists_keeps_its_version_and_gets_the_tags(catalog):
    first = add(catalog)
    add(catalog, bundle=2, tags=["good"])
    again = catalog.versions.add(new(description="changed"), ["good", "new"], lambda: None)
    assert again.version == first.version == 1
    assert again.description == first.description
    assert again.tags == ("good", "new")
    assert catalog.versions.find(Ref("iris", version=2)).tags == ()


def test_the_same_digest_under_another_name_is_a_version_there(catalog):
    add(catalog)
    assert add(catalog, "other").version == 1
    assert catalog.versions.models() == ["iris", "other"]


def test_nothing_is_added_if_the_blob_cannot_be_stored(catalog):
    def fail():
        raise BlobNotFound("blob", expected="it", found="none")

    with pytest.raises(BlobNotFound):
        catalog.versions.add(new(), ["good"], fail)
    assert catalog.versions.models() == []
    assert catalog.versions.untag("iris", "good") is False
    assert add(catalog).version == 1


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        ("iris", 3),
        ("iris:1", 1),
        ("iris:good", 2),
        (f"iris@sha256:{2:064x}", 2),
        ("iris:4", None),
        ("iris:bad", None),
        (f"iris@sha256:{9:064x}", None),
        ("wine", None),
        ("wine:1", None),
        ("wine:good", None),
        (f"wine@sha256:{2:064x}", None),
    ],
)
def test_a_reference_finds_its_version_or_nothing(catalog, ref, version):
    for number in (1, 2, 3):
        add(catalog, bundle=number, tags=["good"] if number == 2 else [])
    named = catalog.versions.find(Ref.parse(ref))
    assert (named.version if named else None) == version


def test_versions_are_ordered_as_numbers_not_as_text(catalog):
    for number in range(1, 12):
        add(catalog, bundle=number)
    assert catalog.versions.find(Ref("iris")).version == 11
    assert [version.version for version in catalog.versions.of("iris")] == list(range(1, 12))


def test_a_tag_names_one_version_and_moves(catalog):
    add(catalog)
    add(catalog, bundle=2)
    assert catalog.versions.tag("iris", 1, "good").tags == ("good",)
    assert catalog.versions.tag("iris", 2, "good").version == 2
    assert [version.tags for version in catalog.versions.of("iris")] == [(), ("good",)]
    assert catalog.versions.untag("iris", "good") is True
    assert catalog.versions.untag("iris", "good") is False
    assert [version.tags for version in catalog.versions.of("iris")] == [(), ()]


def test_a_version_that_does_not_exist_gets_no_tag(catalog):
    add(catalog)
    assert catalog.versions.tag("iris", 2, "good") is None
    assert catalog.versions.tag("wine", 1, "good") is None
    assert catalog.versions.find(Ref("iris", tag="good")) is None


def test_tags_of_two_models_do_not_mix(catalog):
    add(catalog, tags=["good"])
    add(catalog, "wine", 2, tags=["good", "old"])
    assert catalog.versions.find(Ref("iris", tag="good")).tags == ("good",)
    assert catalog.versions.untag("iris", "old") is False


def test_the_number_of_a_removed_version_is_never_used_again(catalog):
    for number in (1, 2):
        add(catalog, bundle=number)
    assert remove(catalog, 2) == ()
    assert catalog.versions.find(Ref("iris", version=2)) is None
    assert add(catalog, bundle=2).version == 3
    for number in (1, 3):
        remove(catalog, number)
    assert catalog.versions.models() == []
    assert catalog.versions.of("iris") == []
    assert add(catalog, bundle=1).version == 4


def test_a_tagged_version_is_not_removed(catalog):
    add(catalog, tags=["a", "b"])
    assert remove(catalog, 1) == ("tag `a`", "tag `b`")
    assert catalog.versions.find(Ref("iris")).version == 1
    assert remove(catalog, 2) is None


def test_blobs_and_bundles_that_versions_name_are_kept(catalog):
    add(catalog)
    add(catalog, "wine", 2)
    assert catalog.versions.kept() == ({new().blob, new(bundle=2).blob}, {new().digest, new(bundle=2).digest})
    remove(catalog, 1)
    assert catalog.versions.kept() == ({new(bundle=2).blob}, {new(bundle=2).digest})


def test_only_a_blob_that_no_version_names_is_discarded(catalog):
    add(catalog)
    deleted = []

    def delete(digest: str) -> bool:
        deleted.append(digest)
        return True

    assert catalog.versions.discard(new().blob, delete) is False
    assert catalog.versions.discard(new(bundle=2).blob, delete) is True
    assert deleted == [new(bundle=2).blob]
    assert catalog.versions.discard(new(bundle=2).blob, lambda _: False) is False


def test_discarding_a_blob_and_adding_its_version_never_overlap(open_catalog):
    inside, order = threading.Event(), []

    def delete(_: str) -> bool:
        inside.set()
        # Long enough for the other thread to add, if it could.
        threading.Event().wait(0.3)
        order.append("deleted")
        return True

    def ensure() -> None:
        order.append("ensured")

    remover = threading.Thread(target=open_catalog().versions.discard, args=(new().blob, delete))
    other = open_catalog()
    remover.start()
    assert inside.wait(5)
    other.versions.add(new(), [], ensure)
    remover.join()
    assert order == ["deleted", "ensured"]


def test_the_last_evidence_per_bundle_and_fingerprint_counts_and_history_is_kept(catalog):
    first = evidence(at="2026-11-20T08:00:00Z")
    elsewhere, other = evidence(image="sha256:1"), evidence(bundle=2)
    again = evidence(at="2026-11-20T09:00:00Z")
    for recorded in (first, elsewhere, other, again):
        catalog.versions.record(recorded)
    assert catalog.versions.evidence(None, history=False) == [elsewhere, other, again]
    assert catalog.versions.evidence(first.bundle, history=False) == [elsewhere, again]
    assert catalog.versions.evidence(first.bundle, history=True) == [first, elsewhere, again]
    assert catalog.versions.evidence(f"sha256:{9:064x}", history=False) == []


def test_versions_added_by_many_threads_have_no_gap_and_no_double(open_catalog):
    shared, numbers = open_catalog(), []

    def run(offset: int) -> None:
        numbers.extend(add(shared, bundle=offset + at).version for at in range(10))

    threads = [threading.Thread(target=run, args=(offset,)) for offset in (100, 200, 300, 400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 41))


def test_a_closed_catalog_opens_again_when_used(catalog):
    add(catalog)
    catalog.close()
    assert catalog.versions.models() == ["iris"]


def test_a_version_that_a_rollback_could_return_to_is_not_removed(three_versions, catalog):
    three_versions.releases.begin("iris", 1, actor="ann")
    three_versions.releases.begin("iris", 2, actor="ann")
    assert catalog.versions.remove("iris", 1, keep_releases=10) == ("release 1", "release 2")
    assert catalog.versions.remove("iris", 1, keep_releases=1) == ("release 2",)
    three_versions.releases.begin("iris", 2, actor="ann")
    assert catalog.versions.remove("iris", 2, keep_releases=1) == ("tag `live`", "release 3")
    assert catalog.versions.remove("iris", 1, keep_releases=1) == ()


def test_a_version_that_a_replica_runs_is_neither_removed_nor_unpacked_again(three_versions, catalog):
    loaded = ReplicaModel(name="iris", version=3, digest=f"sha256:{3:064x}")
    three_versions.fleet.beat(Replica(id="host-1", models=(loaded,)))
    assert catalog.versions.remove("iris", 3, keep_releases=10) == ("replica `host-1`",)
    assert three_versions.fleet.forget("host-1")
    assert catalog.versions.remove("iris", 3, keep_releases=10) == ()
    three_versions.fleet.beat(Replica(id="host-1", models=(loaded,)))
    assert f"sha256:{3:064x}" in catalog.versions.kept()[1]
