"""Progress is reported to a callback while bytes pass by."""

from __future__ import annotations

import io

from lading.blobs.progress import report_reads, report_writes


def test_each_write_is_reported_with_the_bytes_so_far():
    reports, out = [], io.BytesIO()
    writer = report_writes(out, lambda *counts: reports.append(counts), 7)
    writer.write(b"one")
    writer.write(b" two")
    assert out.getvalue() == b"one two"
    assert reports == [(0, 7), (3, 7), (7, 7)]


def test_each_read_is_reported_with_the_bytes_so_far():
    reports: list[tuple[int, ...]] = []
    reader = report_reads(io.BytesIO(b"one two"), lambda *counts: reports.append(counts), 7)
    assert reader.read(3) + reader.read() == b"one two"
    assert reports == [(0, 7), (3, 7), (7, 7)]


def test_without_a_callback_the_file_itself_is_used():
    file = io.BytesIO()
    assert report_writes(file, None, 7) is report_reads(file, None, 7) is file
