"""Documents of feeds: files, lines and members of archives, and none above its limit."""

from __future__ import annotations

import gzip
import zipfile

import pytest

from lading.errors import FeedInvalid
from lading.trust.feeds.documents import Limits, documents_in
from support.feeds import osv, write

SMALL = Limits(document_bytes=4096, list_bytes=8192, source_bytes=8192, documents=3)


def refused(folder, limits=SMALL):
    with pytest.raises(FeedInvalid) as raised:
        list(documents_in(folder, limits))
    return raised.value.message


def test_more_bytes_than_a_limit_are_refused(tmp_path):
    write(tmp_path, "a.json", osv("A", "a", details="x" * 5000))
    assert refused(tmp_path) == "feed `a.json`: expected at most 4,096 bytes, found more"


def test_a_line_without_an_end_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("[" * 10_000)
    assert refused(tmp_path) == "feed `a.jsonl`, line 1: expected at most 4,096 bytes, found more"


@pytest.mark.slow
def test_a_hundred_megabytes_are_refused_by_default(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.write(b'{"id": "')
        file.truncate(100 * 2**20)
    assert "expected at most 16,777,216 bytes" in refused(tmp_path, Limits())


def test_a_gzip_bomb_is_refused(tmp_path):
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"[" + b" " * 10_000_000))
    assert refused(tmp_path) == "feed `a.json.gz`: expected at most 4,096 bytes, found more"
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b'{"format":"NVD_CVE",' + b" " * 10_000_000))
    assert refused(tmp_path) == "feed `a.json.gz`: expected at most 8,192 bytes, found more"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b"[" * 10_000_000)
    assert refused(tmp_path) == "feed `all.zip`, `a.json`: expected at most 8,192 bytes, found more"


def test_a_zip_of_too_many_entries_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for at in range(4):
            archive.writestr(f"{at}.json", "{}")
    assert refused(tmp_path) == "feed `all.zip`: expected at most 3 documents, found more"


def test_an_archive_is_a_source_of_its_own_and_single_files_belong_to_their_first_folder(tmp_path):
    (tmp_path / "pypi" / "more").mkdir(parents=True)
    (tmp_path / "pypi" / "more" / "a.json").write_text("{}")
    (tmp_path / "pypi" / "licence.txt").write_text("no feed")
    with zipfile.ZipFile(tmp_path / "pypi" / "all.zip", "w") as archive:
        archive.writestr("b.json", "{}")
    read = {(each.source, each.path) for each in documents_in(tmp_path, SMALL)}
    assert read == {("pypi", "pypi/more/a.json"), ("pypi/all.zip", "b.json")}
