"""Files of parts: whole under their names, or absent."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from lading.batch.part_file import PartFile
from lading.errors import LadingError


def numbers(count: int, begin: int = 0) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"row": np.arange(begin, begin + count)})


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path):
    path = tmp_path / "out" / "part.parquet"
    part = PartFile(path)
    part.write(numbers(150_000))
    assert not path.exists()
    written = part.finish("part.parquet")
    part.close()
    assert (written.name, written.rows, written.size_bytes) == ("part.parquet", 150_000, path.stat().st_size)
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert pyarrow.parquet.read_table(path)["row"].to_numpy().tolist() == list(range(150_000))
    assert [each.name for each in path.parent.iterdir()] == ["part.parquet"]


def test_the_bytes_do_not_depend_on_how_the_rows_come(tmp_path):
    digests = set()
    for name, size in (("a", 200_000), ("b", 40_000)):
        part = PartFile(tmp_path / name)
        for begin in range(0, 200_000, size):
            part.write(numbers(size, begin))
        digests.add(part.finish(name).sha256)
    assert len(digests) == 1


def test_a_part_without_rows_is_no_file_and_an_unfinished_one_leaves_none(tmp_path):
    empty = PartFile(tmp_path / "empty")
    assert empty.finish("empty") is None
    unfinished = PartFile(tmp_path / "unfinished")
    unfinished.write(numbers(150_000))
    for part in (empty, unfinished):
        part.close()
    assert list(tmp_path.iterdir()) == []


def test_two_processes_at_one_part_do_not_write_into_each_other(tmp_path):
    first, second = PartFile(tmp_path / "part"), PartFile(tmp_path / "part")
    for part in (first, second):
        part.write(numbers(150_000))
    assert first.finish("part") == second.finish("part")
    assert [each.name for each in tmp_path.iterdir()] == ["part"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    part = PartFile(tmp_path / "out" / "part")
    with pytest.raises(LadingError, match="output `"):
        part.write(numbers(150_000))
