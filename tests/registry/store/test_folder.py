"""The store in a folder: damaged blobs, a full disk, and what a push leaves."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest

from lading.errors import (
    ArchiveInvalid,
    DigestMismatch,
    FileMissing,
    RegistryUnavailable,
    SizeMismatch,
)
from lading.registry import Registry
from support.bundles import linear_bundle
from support.files import files_below, flip_bit


@pytest.fixture
def registry(folder_registry) -> Registry:
    return folder_registry


def blob_path(root: Path, digest: str) -> Path:
    name = digest.removeprefix("sha256:")
    return root / "blobs" / "sha256" / name[:2] / name


def test_a_byte_changed_in_the_cache_and_in_the_blob_is_refused(registry, root, bundle):
    version = registry.push(bundle)
    path = registry.fetch("iris").path
    for damaged in (path / "model.onnx", blob_path(root, version.blob)):
        flip_bit(damaged, damaged.stat().st_size // 2)
    with pytest.raises(DigestMismatch) as caught:
        registry.fetch("iris")
    assert "push the bundle again" in caught.value.hint
    assert files_below(root / "cache") == []
    registry.push(bundle)
    assert registry.fetch("iris").digest == bundle.digest


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "samples.npz", "requirements.txt"])
def test_a_byte_changed_in_the_blob_is_refused_and_a_push_repairs_it(registry, root, bundle, name, tmp_path):
    version = registry.push(bundle)
    path = blob_path(root, version.blob)
    content = (bundle.path / name).read_bytes()
    flip_bit(path, path.read_bytes().index(content) + len(content) // 2)
    for get in (lambda: registry.fetch("iris"), lambda: registry.pull("iris", tmp_path / "pulled")):
        with pytest.raises(DigestMismatch, match=name) as caught:
            get()
        assert version.blob in caught.value.hint
        assert "push the bundle again" in caught.value.hint
    assert files_below(root / "cache") == []
    assert not (tmp_path / "pulled").exists()
    assert registry.push(bundle) == version
    assert registry.fetch("iris").digest == bundle.digest


@pytest.mark.parametrize("size", [0, 100, 4000])
def test_a_truncated_blob_is_refused_and_leaves_nothing_in_the_cache(registry, root, bundle, size):
    os.truncate(blob_path(root, registry.push(bundle).blob), size)
    with pytest.raises((ArchiveInvalid, FileMissing, SizeMismatch)) as caught:
        registry.fetch("iris")
    assert "is damaged" in caught.value.hint
    assert files_below(root / "cache") == []


def test_the_blob_of_another_bundle_under_this_digest_is_refused(registry, root, bundle, tmp_path):
    mine = registry.push(bundle)
    other = registry.push(linear_bundle(tmp_path / "other", seed=1))
    shutil.copy(blob_path(root, other.blob), blob_path(root, mine.blob))
    with pytest.raises(DigestMismatch, match=r"bundle\.json"):
        registry.fetch("iris:1")


def test_a_bundle_changed_after_it_was_opened_is_not_pushed(registry, root, bundle):
    flip_bit(bundle.model_path, 10)
    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        registry.push(bundle)
    assert registry.models() == []
    assert files_below(root / "blobs") == []


def test_a_push_that_fails_on_a_full_disk_leaves_nothing(registry, root, tmp_path):
    big = linear_bundle(tmp_path / "big", features=300, classes=300)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(RegistryUnavailable, match="file too large"):
            registry.push(big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert registry.models() == []
    assert files_below(root / "blobs") == []
    assert registry.push(big).version == 1
