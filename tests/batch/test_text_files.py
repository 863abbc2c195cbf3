"""How files of text begin and end: their encoding, the header of a CSV, a quote that nobody closed."""

from __future__ import annotations

import io

import pytest

from lading.batch.text_files import END, WithEnd, check_text, read_header, without_mark


@pytest.mark.parametrize(
    ("data", "names", "delimiter", "size_bytes"),
    [
        (b"a,b\n1,2\n", ("a", "b"), ",", 4),
        (b"\xef\xbb\xbfa;b\r\n1;2", ("a", "b"), ";", 8),
        (b"\n\r\n a , b\n1,2", ("a", "b"), ",", 10),
        (b"a\tb\r1\t2", ("a", "b"), "\t", 4),
        (b'"a,\n""b""",c\n1,2', ('a,\n"b"', "c"), ",", 13),
        ("größe,b".encode(), ("größe", "b"), ",", 9),
        (b"", (), ",", 0),
        (b"\n\n", (), ",", 2),
    ],
)
def test_a_header_is_found_with_the_bytes_that_it_takes(data, names, delimiter, size_bytes):
    header = read_header(io.BufferedReader(io.BytesIO(data)))
    assert (header.names, header.delimiter, header.size_bytes) == (names, delimiter, size_bytes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'"a,b\n1,2\n', "no CSV"),
        (b'"a,b\n' + b"1\n" * 2000, "nobody closed"),
        ("größe".encode("latin-1"), "not UTF-8"),
    ],
)
def test_what_is_no_header_is_refused(data, reason):
    with pytest.raises(ValueError, match=reason):
        read_header(io.BufferedReader(io.BytesIO(data)))


@pytest.mark.parametrize(
    "data", ["a,b".encode("utf-16"), "a,b".encode("utf-16-le"), "a,b".encode("utf-16-be")]
)
def test_utf_16_is_refused_with_a_mark_and_without(data):
    with pytest.raises(ValueError, match="UTF-16"):
        check_text(io.BytesIO(data))


@pytest.mark.parametrize("data", [b"", b"a", b"a,b\n", b"\0\0\0\0", "\ufeffa,b".encode()])
def test_other_beginnings_are_text(data):
    check_text(io.BytesIO(data))


def test_the_end_follows_the_last_byte_once():
    source = WithEnd(io.BytesIO(b"a,b\n1,2"), 4)
    assert source.read(2) == b"1,"
    assert source.read(100) == b"2"
    assert source.read(100) == f"\n{END}\n".encode()
    assert source.read(100) == b""
    assert without_mark(b"\xef\xbb\xbfx") == b"x"
