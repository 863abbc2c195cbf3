"""The folder of an export: whole or not there, and nobody else's files are lost."""

from __future__ import annotations

import hashlib

import pytest

from lading.errors import UsageError
from lading.hub.export.folder import ABOUT, SUMS, written_whole


def written(folder, text: str = "one") -> None:
    with written_whole(folder) as part:
        (part / "pages").mkdir()
        (part / "pages" / "index.html").write_text(text)
        (part / ABOUT).write_text("{}")


def names(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_file_is_listed_with_its_hash(tmp_path):
    written(tmp_path / "out")
    lines = (tmp_path / "out" / SUMS).read_text().splitlines()
    assert [line.partition("  ")[2] for line in lines] == [ABOUT, "pages/index.html"]
    assert lines[1].partition("  ")[0] == hashlib.sha256(b"one").hexdigest()


def test_an_earlier_export_is_replaced_as_a_whole(tmp_path):
    written(tmp_path / "out")
    with written_whole(tmp_path / "out") as part:
        (part / ABOUT).write_text("{}")
    assert names(tmp_path / "out") == [SUMS, ABOUT]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    out = tmp_path / "out"
    written(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"found `notes.txt`, which no export has written"):
        written(out, "two")
    assert (out / "pages" / "index.html").read_text() == "one"
    with pytest.raises(UsageError, match="expected an empty folder, or an earlier export"):
        written(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="expected a folder, found a file"):
        written(tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


def test_what_is_not_finished_is_never_there(tmp_path):
    written(tmp_path / "out")

    def interrupted() -> None:
        with written_whole(tmp_path / "out") as part:
            (part / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert "half" not in names(tmp_path / "out")


def test_an_empty_folder_and_one_behind_a_link_are_taken(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    written(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == [SUMS, ABOUT, "pages/index.html"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="expected a folder that can be written, found File exists"):
        written(tmp_path / "file" / "out")
