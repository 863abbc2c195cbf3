"""Folders of feeds: every form in which they are published, and hostile files."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import pytest

from lading.errors import FeedInvalid
from lading.trust.feeds.documents import Limits
from lading.trust.feeds.folder import read_feeds
from support.feeds import FRESH, JVN, NUMPY, NVD, PYTHON_OLD, osv, pypi, read, write

ENTRY = osv("PYSEC-1", "tables", {"introduced": "0"}, {"fixed": "2.0"})
OTHER = osv("PYSEC-2", "tables", versions=("1.0",))
TABLES = pypi("tables", "1.0")


def zipped(folder, *entries, name="all.zip"):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            archive.writestr(f"{entry['id']}.json", json.dumps(entry))
        archive.writestr("README.md", "not JSON")


def forms(folder, form):
    match form:
        case "file":
            return write(folder, "PYSEC-1.json", ENTRY), {"PYSEC-1"}
        case "folder":
            write(folder, "a/PYSEC-1.json", ENTRY)
            write(folder, "a/b/PYSEC-2.json", OTHER)
        case "list":
            write(folder, "all.json", [ENTRY, OTHER])
        case "gzip":
            (folder / "all.json.gz").write_bytes(gzip.compress(json.dumps([ENTRY, OTHER]).encode()))
        case "lines":
            (folder / "all.jsonl").write_text(f"{json.dumps(ENTRY)}\n\n{json.dumps(OTHER)}\n")
        case "lines in gzip":
            lines = f"{json.dumps(ENTRY)}\n{json.dumps(OTHER)}".encode()
            (folder / "all.jsonl.gz").write_bytes(gzip.compress(lines))
        case "zip of OSV-Scanner":
            zipped(folder / "osv-scalibr" / "PyPI", ENTRY, OTHER)
    return folder, {"PYSEC-1", "PYSEC-2"}


@pytest.mark.parametrize(
    "form", ["file", "folder", "list", "gzip", "lines", "lines in gzip", "zip of OSV-Scanner"]
)
def test_osv_is_read_in_every_form_in_which_it_is_published(tmp_path, form):
    place, ids = forms(tmp_path, form)
    feeds = read(place, TABLES)
    assert {each.id for each in feeds.advisories["PyPI", "tables"]} == ids
    (state,) = feeds.states
    assert (state.kind, state.date, state.entries, state.covers) == ("osv", FRESH, len(ids), ("PyPI",))


def test_each_feed_has_its_own_date_and_what_it_covers(tmp_path):
    zipped(tmp_path / "osv", ENTRY)
    write(tmp_path, "nvd/nvdcve-2.0-2024.json", NVD)
    (tmp_path / "jvn").mkdir()
    (tmp_path / "jvn" / "jvndb_2026.rdf").write_text(JVN)
    write(tmp_path, "end-of-life/numpy.json", NUMPY)
    states = read(tmp_path, TABLES).states
    assert [(each.kind, each.name, each.date, each.date_of, each.covers) for each in states] == [
        ("end-of-life", "end-of-life", "2026-11-29T00:00:00Z", "feed", ("numpy",)),
        ("jvn", "jvn/jvndb_2026.rdf", "2026-11-30T08:00:13Z", "feed", ()),
        ("nvd", "nvd/nvdcve-2.0-2024.json", "2026-11-30T01:02:03Z", "feed", ("generic",)),
        ("osv", "osv/all.zip", FRESH, "newest entry", ("PyPI",)),
    ]


def test_entries_in_files_are_one_feed_by_the_newest_of_them_wherever_they_are(tmp_path):
    for folder in ("", "pypi/"):
        write(
            tmp_path,
            f"{folder}old.json",
            osv(f"{folder}A", "tables", {"introduced": "0"}, modified="2020-01-01"),
        )
        write(tmp_path, f"{folder}new.json", osv(f"{folder}B", "tables", {"introduced": "0"}))
    states = read(tmp_path, TABLES).states
    assert [(each.name, each.date) for each in states] == [("pypi", FRESH), (tmp_path.name, FRESH)]


def test_a_list_of_cycles_has_the_product_of_its_name_and_the_date_of_its_file(tmp_path):
    write(tmp_path, "python.json", PYTHON_OLD)
    feeds = read(tmp_path)
    assert [cycle.ends for cycle in feeds.cycles["python"]] == ["2028-10-31", "2024-10-07"]
    assert feeds.states[0].date_of == "file"


def test_other_files_are_ignored(tmp_path):
    (tmp_path / "README.md").write_text("about feeds")
    (tmp_path / "all.zip.sha256").write_text("00")
    assert read(tmp_path).states == ()


SMALL = Limits(document_bytes=4096, list_bytes=8192, source_bytes=8192, documents=3)


def refused(folder, limits=None):
    with pytest.raises(FeedInvalid) as raised:
        read_feeds(folder, [TABLES], limits)
    assert "\n" not in raised.value.message
    return raised.value.message


def test_more_bytes_than_a_limit_are_refused(tmp_path):
    write(tmp_path, "a.json", osv("A", "a", details="x" * 5000))
    assert refused(tmp_path, SMALL) == "feed `a.json`: expected at most 4,096 bytes, found more"


def test_a_line_without_an_end_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("[" * 10_000)
    assert refused(tmp_path, SMALL) == "feed `a.jsonl`, line 1: expected at most 4,096 bytes, found more"


@pytest.mark.slow
def test_a_hundred_megabytes_are_refused_by_default(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.write(b'{"id": "')
        file.truncate(100 * 2**20)
    assert "expected at most 16,777,216 bytes" in refused(tmp_path)


def test_a_gzip_bomb_is_refused(tmp_path):
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"[" + b" " * 10_000_000))
    assert refused(tmp_path, SMALL) == "feed `a.json.gz`: expected at most 4,096 bytes, found more"
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b'{"format":"NVD_CVE",' + b" " * 10_000_000))
    assert refused(tmp_path, SMALL) == "feed `a.json.gz`: expected at most 8,192 bytes, found more"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b"[" * 10_000_000)
    assert refused(tmp_path, SMALL) == "feed `all.zip`, `a.json`: expected at most 8,192 bytes, found more"


def test_a_zip_of_too_many_entries_is_refused(tmp_path):
    zipped(tmp_path, *[osv(f"A-{at}", "a", {"introduced": "0"}) for at in range(4)])
    assert refused(tmp_path, SMALL) == "feed `all.zip`: expected at most 3 documents, found more"


def test_a_zip_that_states_a_smaller_size_gives_no_more_than_that(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b"[" * 100_000)
    data = out.getvalue().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "all.zip").write_bytes(data)
    assert refused(tmp_path).startswith(
        "feed `all.zip`: expected a zip archive, found another form (Bad CRC-32"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[" * 100_000, "expected JSON of a feed, found"),
        ('{"a":' * 100_000, "found JSON that is nested too deep"),
        ("{}", "expected a feed of OSV, NVD, JVN or endoflife.date, found JSON of another form"),
        ("", "expected JSON of a feed, found"),
        ("[1, 2]", "a.json`, entry 1: expected JSON of a feed, found Expected `object`, got `int`"),
        ('{"id": 1, "modified": "2026-01-01"}', "expected an entry of OSV, found Expected `str`, got `int`"),
        ('{"id": "A"}', "expected an entry of OSV, found Object missing required field `modified`"),
        ('{"id": "A", "modified": "yesterday"}', "expected a time (ISO 8601), found `yesterday`"),
        (
            '{"id": "A", "modified": "2026-01-01", "affected": [{"ranges": "all"}]}',
            "at `$.affected[0].ranges`",
        ),
        ('{"id": "", "modified": "2026-01-01"}', "with an `id`, found none"),
        ('{"format": "NVD_CVE", "vulnerabilities": [{"cve": 3}]}', "expected a list of NVD, version 2.0"),
        ('{"result": {"name": "x", "releases": [{"name": 3}]}}', "expected a product of endoflife.date"),
        ('[{"cycle": {}}]', "expected a product of endoflife.date"),
        ("<a>", "expected XML, found another form"),
        ("<a/>", "expected the RSS of MyJVN, found `a`"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "expected XML without a DTD"),
    ],
)
def test_what_is_no_feed_is_refused_in_one_sentence(tmp_path, content, sentence):
    (tmp_path / "a.json").write_text(content)
    assert sentence in refused(tmp_path)


def test_bytes_that_are_no_text_gzip_or_zip_are_refused(tmp_path):
    for name, sentence in (
        ("a.json", "expected JSON of a feed"),
        ("a.json.gz", "expected gzip"),
        ("a.zip", "expected a zip archive"),
    ):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00" * 40)
        assert sentence in refused(tmp_path)
        (tmp_path / name).unlink()


def test_an_entry_twice_in_a_feed_is_refused(tmp_path):
    write(tmp_path, "a/1.json", ENTRY)
    write(tmp_path, "a/2.json", ENTRY)
    assert refused(tmp_path) == "feed `a/2.json`: expected each entry once in a feed, found `PYSEC-1` twice"
    (tmp_path / "a" / "2.json").unlink()
    twice = {**NVD, "vulnerabilities": [NVD["vulnerabilities"][0]] * 2}
    write(tmp_path, "nvd.json", twice)
    assert "expected each CVE once, found `CVE-2020-1747` twice" in refused(tmp_path)
