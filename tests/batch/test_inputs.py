"""Which files are read, and which are not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from lading.batch import objects
from lading.batch.inputs import check_unchanged, find_inputs
from lading.batch.run import Options, run_batch
from lading.errors import BatchChanged, UsageError
from support.batch_runs import HERE


def test_what_is_no_file_of_rows_is_named_or_refused(tmp_path, iris, parquet):
    path = parquet("days/a.parquet", 3)
    (tmp_path / "days/notes.txt").write_text("hello")
    (tmp_path / "days/_SUCCESS").write_text("")
    run = run_batch(iris, [tmp_path / "days"], tmp_path / "out", Options(processes=1))
    assert run.left_out == ("notes.txt",)
    for wrong in (tmp_path / "days/notes.txt", tmp_path / "nothing", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError):
            run_batch(iris, [path, wrong] if wrong.name != "empty" else [wrong], tmp_path / "other", HERE)


@pytest.mark.slow
def test_a_prefix_is_read_as_a_folder_is(tmp_path, bucket):
    names = (
        "a.csv",
        "b/c.PARQUET",
        "b/_SUCCESS",
        "b/.part.csv",
        ".tmp/d.csv",
        "_old/e.csv",
        "notes.txt",
        "f.csv.gz",
    )
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(name.encode())
        bucket.put(f"in/{name}", name.encode())
    # What a console makes of a folder, and a name that only begins alike.
    bucket.put("in/b/", b"")
    bucket.put("input.csv", b"")
    here, there = find_inputs([tmp_path / "in"]), find_inputs([f"{bucket.url}/in/"])
    assert (
        [file.name for file in there.files]
        == [file.name for file in here.files]
        == ["a.csv", "b/c.PARQUET", "f.csv.gz"]
    )
    assert there.left_out == here.left_out == ("notes.txt",)
    assert [file.form for file in there.files] == [file.form for file in here.files]
    mixed = find_inputs([tmp_path / "in/a.csv", f"{bucket.url}/in/b", f"{bucket.url}/in/b/c.PARQUET"])
    assert [file.name for file in mixed.files] == ["a.csv", "c.PARQUET"]


@pytest.mark.slow
def test_what_is_nothing_in_a_bucket_is_refused(bucket):
    bucket.put("notes.txt", b"hello")
    bucket.put("marks/_SUCCESS", b"")
    for name, word in (("nothing", "nothing there"), ("notes.txt", "found another"), ("marks", "found none")):
        with pytest.raises(UsageError, match=word):
            find_inputs([f"{bucket.url}/{name}"])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "page"), [(25, 10), pytest.param(1005, 1000, marks=pytest.mark.wide)])
def test_a_prefix_of_more_than_a_page_is_listed_completely(bucket, monkeypatch, count, page):
    monkeypatch.setattr(objects, "PAGE_KEYS", page)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: bucket.put(f"in/{number:05}.csv", b"x"), range(count)))
    files = find_inputs([f"{bucket.url}/in"]).files
    assert [file.name for file in files] == [f"{number:05}.csv" for number in range(count)]
    check_unchanged(files)
    bucket.put(f"in/{count - 1:05}.csv", b"y")
    with pytest.raises(BatchChanged, match=r"csv`: expected the bytes it had at the start, found others"):
        check_unchanged(files)
