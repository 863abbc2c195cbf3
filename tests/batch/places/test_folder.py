"""A folder as a place of a run: other runs and other things are kept out, files come whole."""

from __future__ import annotations

import pytest

from lading.batch.places.folder import FolderPlace
from lading.batch.places.open import open_place
from lading.errors import DestinationExists, OutputInUse, UsageError


def test_what_a_killed_run_had_not_finished_is_removed(tmp_path):
    place = open_place(tmp_path / "out")
    with place.holding():
        (tmp_path / "out/.lading/parts/.part-000000-x.parquet.17").write_bytes(b"half")
        place.write(".lading/done/part-000000.json", b"{}")
    with place.holding():
        assert place.records() == [".lading/done/part-000000.json"]
        assert not list((tmp_path / "out/.lading/parts").iterdir())


def test_a_small_file_is_created_once(tmp_path):
    place = FolderPlace(tmp_path)
    with place.holding():
        assert place.create("manifest.json", b"1")
        assert not place.create("manifest.json", b"2")
        assert place.read("manifest.json") == b"1"
        assert place.read("other") is None
        assert list(place.files()) == ["manifest.json"]


def test_a_folder_is_held_by_one_run(tmp_path):
    with (
        open_place(tmp_path / "out").holding(),
        pytest.raises(OutputInUse, match="at work"),
        open_place(tmp_path / "out").holding(),
    ):
        pass


def test_a_file_is_no_place(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DestinationExists, match="found a file"), open_place(tmp_path / "out").holding():
        pass
    with pytest.raises(UsageError, match="no bucket"):
        open_place("s3://")
