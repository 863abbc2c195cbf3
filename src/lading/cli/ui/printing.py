"""Writing: data to stdout, everything for people to stderr. Decides no content.

Text from bundles and servers may hold terminal escapes; each character that does not print is shown as
its escape. Colour goes to terminals only, and nowhere where `NO_COLOR` is set.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_COLOURS = {"passed": "green", "holds": "green", "failed": "bold red", "noted": "yellow", "skipped": "dim"}
_GAP = 2
_PROSE = 24
"""Columns are not made narrower than this by wrapping."""
_ENDLESS = 1_000_000


def data(text: str) -> None:
    """Write one line of data."""
    click.echo(clean(text), color=False)


def as_json(value: Any, *, indent: int = 2) -> None:
    """Write `value` as one JSON document; structs keep the order of their fields."""
    import msgspec

    text = msgspec.json.encode(value)
    click.echo(msgspec.json.format(text, indent=indent) if indent else text, color=False)


def remark(text: str) -> None:
    """Tell people on stderr what was done."""
    click.echo(clean(text), err=True, color=False)


def error(sentence: str, hint: str | None) -> None:
    """Say what went wrong, and on a line of its own what can be done."""
    coloured = in_colour(sys.stderr)
    word = click.style("error", fg="red", bold=True) if coloured else "error"
    click.echo(f"{word}: {clean(sentence)}", err=True, color=coloured)
    if hint:
        word = click.style("hint", fg="cyan", bold=True) if coloured else "hint"
        click.echo(f"{word}: {clean(hint)}", err=True, color=coloured)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Write names and values as two columns; a pair without a value is left out."""
    shown = [(name, value) for name, value in pairs if value]
    widest = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        data(f"{name.ljust(widest)}  {value}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table; into a pipe it is as wide as its content, one line a row.

    On a terminal that is too narrow prose is wrapped between words; where that is not enough, each row
    becomes a block of names and values, because nobody can read or copy a digest in pieces.
    """
    from rich.console import Console

    piped = not sys.stdout.isatty()
    console = Console(file=sys.stdout, width=_ENDLESS if piped else None, no_color=not in_colour(sys.stdout))
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = _widths(header, cells, console.width)
    with console.capture() as captured:
        if widths is not None:
            console.print(_grid(header, cells, widths))
        else:
            for at, row in enumerate(cells):
                console.print(*([""] if at else []), _block(header, row), sep="\n")
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=not piped)


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[int] | None:
    """Choose the widths of columns, of at most `most` with the gaps; None where a word would be broken."""
    from rich.cells import cell_len

    columns = list(zip(header, *rows, strict=True))
    whole = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    words = [max(cell_len(word) for cell in column for word in cell.split() or [" "]) for column in columns]
    least = [max(word, min(wide, _PROSE)) for word, wide in zip(words, whole, strict=True)]
    room = most - sum(least) - _GAP * (len(least) - 1)
    if room < 0:
        return None
    wanted = [max(0, wide - width) for wide, width in zip(whole, least, strict=True)]
    share = min(1.0, room / max(1, sum(wanted)))
    return [width + int(share * more) for width, more in zip(least, wanted, strict=True)]


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    from rich.table import Table

    grid = Table(box=None, header_style="bold", padding=(0, _GAP, 0, 0), pad_edge=False)
    for name, width in zip(header, widths, strict=True):
        grid.add_column(name, width=width)
    for row in rows:
        grid.add_row(*map(_styled, row))
    return grid


def _block(header: Sequence[str], row: Sequence[str]) -> Table:
    """Write one row as names and values, without those that are empty."""
    from rich.table import Table

    grid = Table(box=None, show_header=False, padding=(0, _GAP, 0, 0), pad_edge=False)
    grid.add_column(style="bold", width=max(map(len, header)))
    grid.add_column(overflow="fold")
    for name, cell in zip(header, row, strict=True):
        if cell:
            grid.add_row(name, _styled(cell))
    return grid


def _styled(cell: str) -> Text:
    from rich.text import Text

    return Text(cell, style=_COLOURS.get(cell, ""))


@contextlib.contextmanager
def busy(text: str) -> Iterator[None]:
    """Show on a terminal's stderr that something is being done."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(clean(text))):
        yield


@contextlib.contextmanager
def moving(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show on a terminal's stderr how far a transfer is; return what to call with bytes done and in all."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    words = TextColumn(escape(clean(text)))
    columns = (words, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def clean(text: str) -> str:
    """Show every character that does not print, but for line ends, as its escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def in_colour(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal that may be coloured (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def count(number: int, noun: str) -> str:
    """Write a number of things: ``1 event``, ``2 events``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size(size_bytes: int) -> str:
    """Write a number of bytes as people read it: ``812 B``, ``1.4 MB``."""
    amount, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def short(digest: str) -> str:
    """Write a digest as far as people compare it."""
    return digest[: len("sha256:") + 12]
