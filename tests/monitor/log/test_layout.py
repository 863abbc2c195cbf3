"""Names in a log: folders of hours, and ids that sort by time."""

from __future__ import annotations

from pathlib import Path

from lading.monitor.log.layout import Contents, began_of, hour_folders, hour_of, segment_id
from support.predictions import NOON


def test_records_are_in_the_folder_of_their_hour_and_labels_in_one_of_their_own():
    contents = Contents(kind="answers", model="iris", hour=int(NOON))
    assert contents.folder == Path("model=iris/date=2026-11-30/hour=12")
    labels = Contents(kind="labels", model="iris", hour=int(NOON))
    assert labels.folder == Path("labels/model=iris/date=2026-11-30/hour=12")


def test_an_hour_begins_at_its_first_microsecond():
    assert hour_of(int(NOON * 1e6)) == NOON
    assert hour_of(int(NOON * 1e6) - 1) == NOON - 3600


def test_ids_sort_by_the_time_of_their_segments_and_are_never_the_same():
    assert segment_id(NOON) < segment_id(NOON + 0.001)
    assert len({segment_id(NOON) for _ in range(100)}) == 100


def test_folders_that_someone_else_has_made_are_no_hours(tmp_path):
    for name in ("hour=07", "hour=late", "hour=25", "notes"):
        (tmp_path / "model=iris" / "date=2026-11-30" / name).mkdir(parents=True)
    (tmp_path / "model=rose" / "date=2026-11-29" / "hour=23").mkdir(parents=True)
    assert [path.name for _, path in hour_folders(tmp_path)] == ["hour=23", "hour=07"]
    assert [path.name for _, path in hour_folders(tmp_path, "iris")] == ["hour=07"]
    assert began_of(Path("date=2026-11-30/hour=12")) == NOON
