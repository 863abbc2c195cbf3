"""What names a place is a path or a URL, and never something in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from lading.batch.places import MANIFEST, STATE, check_ours
from lading.batch.places.bucket import BucketPlace
from lading.batch.places.folder import FolderPlace
from lading.batch.places.open import open_place
from lading.errors import DestinationExists, InvalidSetting, UsageError


def test_a_path_is_a_folder_and_a_url_a_prefix(tmp_path):
    folder, bucket = open_place(tmp_path), open_place("s3://bucket/some/prefix//")
    assert isinstance(folder, FolderPlace)
    assert isinstance(bucket, BucketPlace)
    assert (folder.parts, bucket.parts) == (
        tmp_path / ".lading/parts",
        "s3://bucket/some/prefix/.lading/parts",
    )
    assert (folder.named("a"), bucket.named("a")) == (f"{tmp_path}/a", "s3://bucket/some/prefix/a")
    assert open_place("s3://bucket").named("a") == "s3://bucket/a"


def test_a_url_that_names_no_place_is_refused():
    with pytest.raises(UsageError, match="no bucket"):
        open_place("s3://")
    with pytest.raises(UsageError, match="the URL as a text"):
        open_place(Path("s3://bucket/prefix"))
    with pytest.raises(InvalidSetting, match=r"\*\*\*@"):
        open_place("s3://key:secret@bucket")


def test_a_place_with_files_is_a_runs_by_its_manifest_or_its_state():
    check_ours("out", [])
    check_ours("out", ["other.txt", STATE])
    check_ours("out", ["other.txt", MANIFEST])
    with pytest.raises(DestinationExists, match=r"`a\.txt`"):
        check_ours("out", ["b.txt", "a.txt"])
