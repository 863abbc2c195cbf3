"""Output: data to stdout, everything meant for people to stderr. Decides nothing about the content.

Text from bundles and servers may hold terminal escapes, so each unprintable character is shown as its escape
sequence. Colour goes to terminals only, and never if `NO_COLOR` is set.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_COLOURS = {
    "passed": "green",
    "holds": "green",
    "failed": "bold red",
    "noted": "yellow",
    "skipped": "dim",
    "drifted": "bold red",
    "alarms": "bold red",
}
_GAP = 2
_PROSE_WIDTH = 24
"""Wrapping makes no column narrower than this."""
_UNLIMITED_WIDTH = 1_000_000
_HEIGHT = 25
"""Cuts nothing off; but without any, rich takes a dumb terminal for one of 80 columns."""


def data(text: str) -> None:
    """Print one line of data to stdout."""
    # No colour, even on a terminal: data is often copied from there.
    click.echo(printable(text), color=False)


def as_json(value: Any, *, indent: int = 2) -> None:
    """Print `value` as one JSON document; structs keep the order of their fields."""
    import msgspec

    # Without `printable`: programs read this, and texts have to stay what they are.
    text = msgspec.json.encode(value)
    click.echo(msgspec.json.format(text, indent=indent) if indent else text, color=False)


def info(text: str) -> None:
    """Print a line for people to stderr."""
    click.echo(printable(text), err=True, color=False)


def error(sentence: str, hint: str | None) -> None:
    """Print what went wrong to stderr, and on a line of its own what the reader can do."""
    coloured = use_colour(sys.stderr)
    label = click.style("error", fg="red", bold=True) if coloured else "error"
    click.echo(f"{label}: {printable(sentence)}", err=True, color=coloured)
    if hint:
        label = click.style("hint", fg="cyan", bold=True) if coloured else "hint"
        click.echo(f"{label}: {printable(hint)}", err=True, color=coloured)


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns; a pair without a value is left out."""
    # `pairs` may be a generator, and is needed twice.
    present = [(name, value) for name, value in pairs if value]
    widest = max((len(name) for name, _ in present), default=0)
    for name, value in present:
        data(f"{name.ljust(widest)}  {value}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; into a pipe it is as wide as its content, one line per row.

    On a terminal that is too narrow, prose is wrapped between words; if that is not enough, each row becomes
    a block of names and values, because nobody can read or copy a digest that is broken over two lines.
    """
    # Imported here: commands that print no table do not wait for rich.
    from rich.console import Console

    piped = not sys.stdout.isatty()
    width = _UNLIMITED_WIDTH if piped else shutil.get_terminal_size().columns
    console = Console(file=sys.stdout, width=width, height=_HEIGHT, no_color=not use_colour(sys.stdout))
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = _column_widths(header, cells, console.width)
    # Captured, because rich pads lines with blanks up to the width of the column.
    with console.capture() as captured:
        if widths is not None:
            console.print(_grid(header, cells, widths))
        else:
            for number, row in enumerate(cells):
                # An empty line between the blocks.
                console.print(*([""] if number else []), _block(header, row), sep="\n")
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=not piped)


def _column_widths(header: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[int] | None:
    """Return the widths of the columns, at most `most` with the gaps, or None if a word would be broken."""
    from rich.cells import cell_len

    columns = list(zip(header, *rows, strict=True))
    full = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    words = [max(cell_len(word) for cell in column for word in cell.split() or [" "]) for column in columns]
    least = [max(word, min(width, _PROSE_WIDTH)) for word, width in zip(words, full, strict=True)]
    room = most - sum(least) - _GAP * (len(least) - 1)
    if room < 0:
        return None
    # What is left over is shared out in proportion to what each column lacks.
    missing = [max(0, width - minimum) for width, minimum in zip(full, least, strict=True)]
    share = min(1.0, room / max(1, sum(missing)))
    # Rounded down: the sum of the columns never exceeds the room.
    return [minimum + int(share * more) for minimum, more in zip(least, missing, strict=True)]


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    from rich.table import Table

    grid = Table(box=None, header_style="bold", padding=(0, _GAP, 0, 0), pad_edge=False)
    for name, width in zip(header, widths, strict=True):
        grid.add_column(name, width=width)
    for row in rows:
        grid.add_row(*map(_styled, row))
    return grid


def _block(header: Sequence[str], row: Sequence[str]) -> Table:
    """Return one row as names and values, without the empty ones."""
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
def spinner(text: str) -> Iterator[None]:
    """Show on a terminal's stderr that work is in progress."""
    with steps(text):
        yield


@contextlib.contextmanager
def steps(text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal's stderr that work is in progress, and which step of it.

    Yields a function to call with each step that begins, in a few words; elsewhere it does nothing.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(printable(text))) as status:
        yield lambda step: status.update(escape(printable(f"{text}: {step}")))


@contextlib.contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show the progress of a transfer on a terminal's stderr.

    Yields a function to call with the bytes done and the bytes in total, or None if stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    label = TextColumn(escape(printable(text)))
    columns = (label, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    # Transient: what counts is the line that is printed at the end.
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def printable(text: str) -> str:
    """Return `text` with every unprintable character but the newline shown as its escape sequence."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def use_colour(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal that may be coloured (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def allow_flag(executes: bool | str) -> str:
    """Return the flag, after a space, that a bundle which executes something needs to run; else nothing."""
    return f" --allow {executes}" if executes else ""


def plural(number: int, noun: str) -> str:
    """Return a count with its noun: ``1 event``, ``2 events``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def short_time(iso: str) -> str:
    """Return an ISO time for a table, to the second: ``2026-11-20 08:00:00``."""
    return iso[:19].replace("T", " ")
