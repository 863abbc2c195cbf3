"""How a file of text begins and ends: its encoding, the header of a CSV, and a quote that nobody closed.

Reads a few bytes of a file, or passes them on as they are. Knows no column and no row.
"""

from __future__ import annotations

import csv
import io
from typing import Any, NamedTuple

END = "\x1eend of the file\x1e"
"""A line that no file has, put behind the last one: who does not see it is still within quotes."""

_LONGEST_HEADER = 64 * 2**20
_MOST_HEADER_LINES = 1000
_BOM = b"\xef\xbb\xbf"
_KINDS = (
    (b"\x1f\x8b", "a gzip file, whose name would end in `.gz`"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a ZIP archive, as a spreadsheet is"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


class Header(NamedTuple):
    """The first row of a CSV: its names, what divides them, and how many bytes it takes."""

    names: tuple[str, ...]
    delimiter: str
    size_bytes: int


def check_text(source: Any) -> None:
    """Raise `ValueError` if the first bytes of a file say that it is no text in UTF-8."""
    head = source.read(4)
    for magic, kind in _KINDS:
        if head.startswith(magic):
            raise ValueError(kind)
    # Without a mark, UTF-16 has a NUL in each letter of ASCII; UTF-8 has none in any text.
    if len(head) == 4 and (head[0] == 0) != (head[1] == 0) and head[0:2].count(0) == head[2:4].count(0):
        raise ValueError("UTF-16")


def without_mark(line: bytes) -> bytes:
    """Return the first line of a file without the byte order mark that spreadsheets put in front."""
    return line.removeprefix(_BOM)


def read_header(source: Any) -> Header:
    """Return the header of a CSV that is open at its beginning; without names if it has no line.

    Raises `ValueError` for one that is no CSV in UTF-8.
    """
    # Latin-1 has a character for each byte: lines end where they do in UTF-8, and nothing fails to decode.
    lines = io.TextIOWrapper(source, "latin-1", newline="")
    head = ""
    try:
        for _ in range(_MOST_HEADER_LINES):
            line = lines.readline(_LONGEST_HEADER)
            head += line
            row = without_mark(head.encode("latin-1")).strip(b"\r\n")
            if len(head) >= _LONGEST_HEADER:
                break
            if row and (names := _names(_decoded(row), ended=not line)) is not None:
                return Header(names[0], names[1], len(head))
            if not line:
                return Header((), ",", len(head))
    finally:
        lines.detach()  # Else it would close the source with itself.
    raise ValueError("a first line without an end, or a quote in it that nobody closed")


def _decoded(row: bytes) -> str:
    try:
        return row.decode()
    except UnicodeDecodeError:
        raise ValueError("a first line that is not UTF-8") from None


def _names(row: str, *, ended: bool) -> tuple[tuple[str, ...], str] | None:
    """Return the names of a header and their delimiter; None if it goes on in the next line."""
    # What stands between names most often; a comma if nothing does.
    delimiter = max((",", ";", "\t"), key=row.count)
    try:
        # Quotes may hide a delimiter or a line break in a name.
        names = next(csv.reader(io.StringIO(row, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        if '"' in row and not ended and "unexpected end" in str(error):
            return None
        raise ValueError(f"a first line that is no CSV ({error})") from None
    # As a server reads them: people write blanks behind commas.
    return tuple(name.strip() for name in names), delimiter


class WithEnd:
    """A source of bytes with the line `END` behind its last one, for Arrow to read."""

    closed = False

    def __init__(self, source: Any, skipped: int) -> None:
        self._source = source
        self._ended = False
        # A packed file cannot jump: what is skipped is read.
        while skipped and (data := source.read(min(skipped, 1 << 20))):
            skipped -= len(data)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; none after the end."""
        data: bytes = self._source.read(size)
        if data or self._ended:
            return data
        self._ended = True
        return f"\n{END}\n".encode()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def writable(self) -> bool:
        """Return that nothing can be written to it."""
        return False

    def seekable(self) -> bool:
        """Return that it cannot jump."""
        return False

    def close(self) -> None:
        """Note that Arrow is done; the source belongs to those who have opened it."""
        self.closed = True
