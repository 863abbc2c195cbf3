"""What must be true of a version before it is released, in Python as on the command line."""

from __future__ import annotations

import pytest

from lading.bundle import read_archive_manifest
from lading.errors import ArchiveInvalid, BlobNotFound, SignatureChanged, UsageError, VerificationError
from lading.registry import Registry
from lading.release import Plan
from lading.verify import verify
from support.bundles import linear_bundle
from support.recorded_evidence import ELSEWHERE, push_proved


@pytest.fixture
def released(folder_registry, tmp_path) -> Registry:
    """A registry with iris:1 live, and iris:2 with three columns in place of four."""
    push_proved(folder_registry, linear_bundle(tmp_path / "wide"))
    push_proved(folder_registry, linear_bundle(tmp_path / "narrow", features=3))
    folder_registry.release("iris:1", actor="ann")
    return folder_registry


@pytest.mark.slow
def test_a_version_is_released_only_with_evidence_that_it_holds(folder_registry, bundle):
    version = folder_registry.push(bundle)
    for release in (
        lambda: folder_registry.release("iris:1", actor="ann"),
        lambda: folder_registry.releases.begin("iris", 1, actor="ann"),
        lambda: folder_registry.releases.rollback("iris", to=1, actor="ann"),
    ):
        with pytest.raises(VerificationError, match="expected evidence that it holds, found none"):
            release()
    assert folder_registry.releases.current("iris") is None
    evidence = verify(folder_registry.fetch(version))
    folder_registry.record(evidence)
    assert folder_registry.release("iris:1", actor="ann").runtime == evidence.fingerprint.id


def test_a_release_by_a_bare_name_is_refused(released):
    with pytest.raises(UsageError, match="expected a version, as in `iris:2`"):
        released.release("iris", actor="ann")


@pytest.mark.parametrize("plan", [None, Plan(mode="canary"), Plan(mode="shadow"), Plan(mode="ab")])
def test_a_release_that_callers_may_notice_is_refused_until_it_is_forced(released, plan):
    before = released.releases.events("iris")
    with pytest.raises(SignatureChanged, match="shape: \\[batch, 4\\] → \\[batch, 3\\]") as caught:
        released.release("iris:2", plan, actor="bob")
    assert "`lading diff iris:1 iris:2` shows everything" in caught.value.hint
    with pytest.raises(SignatureChanged):
        released.releases.begin("iris", 2, plan, actor="bob")
    assert released.releases.events("iris") == before
    release = released.release("iris:2", plan, actor="bob", force=True)
    assert release.runtime == ELSEWHERE.id
    forced = released.releases.events("iris")[-1].evidence["forced"]
    assert forced[0] == "input `X`, shape: [batch, 4] → [batch, 3]"


def test_a_live_version_that_cannot_be_compared_is_no_equal_one(released):
    version = released.resolve("iris:1")
    released.store.delete(version.blob)
    with pytest.raises(BlobNotFound) as caught:
        released.release("iris:2", actor="bob")
    assert "releases `iris:2` without comparing it" in caught.value.hint
    released.release("iris:2", actor="bob", force=True)
    (forced,) = released.releases.events("iris")[-1].evidence["forced"]
    assert forced.startswith("comparison: `iris:1` → not possible: ")


def test_an_undo_brings_another_signature_back_without_being_forced(released):
    released.release("iris:2", actor="bob", force=True)
    assert released.releases.rollback("iris", actor="bob").live == 1


def test_the_manifest_is_read_without_the_rest_of_the_bundle(registry, bundle):
    version = registry.push(bundle)
    assert registry.manifest(version) == registry.manifest("iris:1") == bundle.manifest
    with registry.store.open(version.blob) as source:
        head = source.read(4 * 512)
    source = _Stream(head)
    with pytest.raises(ArchiveInvalid):
        read_archive_manifest(source, version.digest)


class _Stream:
    """A stream that ends early."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data
