"""Writing: data to stdout, everything for people to stderr. Decides no content.

Text from bundles and servers may hold terminal escapes; each character that does not print is shown as
its escape. Colour goes to terminals only, and nowhere where `NO_COLOR` is set.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

import click

_COLOURS = {"passed": "green", "holds": "green", "failed": "bold red", "noted": "yellow", "skipped": "dim"}


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
    """Write a table; into a pipe it is as wide as its content, one line a row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    piped = not sys.stdout.isatty()
    console = Console(file=sys.stdout, width=10_000 if piped else None, no_color=not in_colour(sys.stdout))
    grid = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for name in header:
        grid.add_column(name, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(clean(cell), style=_COLOURS.get(cell, "")) for cell in row))
    with console.capture() as captured:
        console.print(grid)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=not piped)


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
    """Show on a terminal's stderr how far a transfer is; give what to call with bytes done and in all."""
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
    """Tell whether `stream` is a terminal that may be coloured (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


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
