"""Charts of one column: a histogram of the reference with live rows as a line over it, or paired bars.

The area of a bin is its share of the rows, whatever its width. Knows nothing of pages.
"""

from __future__ import annotations

from collections.abc import Sequence

from lading.monitor.report import axes, figures
from lading.monitor.report.axes import BinAxis
from lading.monitor.report.cells import Cell, all_cells, bar_cells, side_cells
from lading.monitor.report.markup import (
    Markup,
    fitted,
    joined,
    letters,
    line,
    path,
    picture,
    rect,
    shortened,
    tag,
    text_at,
)
from lading.monitor.report.saying import Say, in_english
from lading.monitor.status import ColumnStatus
from lading.profile import FIRST

WIDTH = 340.0
"""Of every chart: about a pixel per unit on the narrowest phones, so that its text stays readable."""

_MARGIN = 8.0
_TOP = 16.0
_PLOT = 96.0
_BASE = _TOP + _PLOT
_HIGHEST = 7.0
"""A bin is cut off, and its share written above, at so many times the height of a uniform distribution."""

_BAR = 8.0
_ROW = 2 * _BAR + 6
_LABEL = 96.0
_VALUES = 92.0
_LABEL_LENGTH = 13


def distribution(column: ColumnStatus, description: str, *, id: str, say: Say = in_english) -> Markup:
    """Return the chart of a column's reference and live values; bins need bounds, anything else is bars."""
    parts: list[Markup] = []
    height = 0.0
    # Bins have an axis, a few numbers an order, categories names: each is drawn as what it is.
    if column.bounds:
        parts, height = [_histogram(column, say)], _BASE + 20
    elif column.kind in ("integer", "number") and len(column.cells) > FIRST + 1:
        parts, height = [_columns(bar_cells(column, say), say)], _BASE + 20
    else:
        bars, height = _rows(bar_cells(column, say), 2, say)
        parts.append(bars)
    sides = side_cells(column, say)
    if sides:
        bars, height = _rows(sides, height + (6 if parts else 2), say)
        parts.append(bars)
    title = say("Distribution of {name}, reference and live", name=shortened(column.name, 80))
    return picture(WIDTH, height, title, description, id=id, body=joined(parts))


def _histogram(column: ColumnStatus, say: Say) -> Markup:
    axis = axes.bin_axis(column.bounds, column.minimum, column.maximum)
    cells = all_cells(column, say)[FIRST:]
    reference = axis.densities([cell.reference for cell in cells])
    live = axis.densities([cell.live for cell in cells])
    # A column that is constant now would make everything else a stroke on the baseline.
    top = min(_HIGHEST, max(*reference, *live, 1e-9))
    edges = [_x(axis, edge) for edge in axis.edges]
    cut = []
    free_from = 0.0
    for left, right, cell, before, now in zip(edges, edges[1:], cells, reference, live, strict=False):
        x = min(max((left + right) / 2, 24), WIDTH - 24)
        if max(before, now) > top and x > free_from:
            text = figures.share(cell.live if now > top else cell.reference)
            tone = "live-text" if now > top else None
            cut.append(text_at(x, _TOP - 5, text, anchor="middle", class_=tone))
            free_from = x + _text_width(text) + 6
    # Browsers show these titles beside the pointer; the table below has the same for everybody else.
    hints = [
        tag("g", tag("title", _hint(cell, say)), rect(left, _TOP, right - left, _PLOT, "hit"))
        for left, right, cell in zip(edges, edges[1:], cells, strict=False)
    ]
    return joined(
        [
            path(_steps(edges, reference, top), "reference", closed=True),
            path(_steps(edges, live, top), "live-area", closed=True),
            path(_steps(edges, live, top), "live"),
            line(_MARGIN, _BASE, WIDTH - _MARGIN, _BASE, "axis"),
            *cut,
            _ticks(axis, column.kind, say),
            *hints,
        ]
    )


def _x(axis: BinAxis, edge: float) -> float:
    return _MARGIN + (edge - axis.edges[0]) / axis.length * (WIDTH - 2 * _MARGIN)


def _steps(edges: Sequence[float], heights: Sequence[float], top: float) -> list[tuple[float, float]]:
    """Return the points of a step line over the bins, from the baseline and back to it."""
    points = [(edges[0], _BASE)]
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        y = _BASE - min(height, top) / top * _PLOT
        points += [(left, y), (right, y)]
    return [*points, (edges[-1], _BASE)]


def _ticks(axis: BinAxis, kind: str, say: Say) -> Markup:
    """Return the labels below the axis: round values inside, the extreme where an end is drawn too short."""
    if kind == "timestamp":
        values, step = axes.time_ticks(axis.edges[0], axis.edges[-1], 5)
        labels = [(value, figures.tick_time(value, step, say)) for value in values]
    else:
        values = axis.ticks()
        labels = [(value, figures.number(value, axes.digits(values))) for value in values]
    room = WIDTH - 2 * _MARGIN
    parts, ends = [], [_MARGIN, WIDTH - _MARGIN]
    if axis.low is not None:
        text = f"← {_extreme(axis.low, kind, say)}"
        parts.append(text_at(_MARGIN, _BASE + 15, text, class_="muted-text"))
        ends[0] += _text_width(text) + 6
    if axis.high is not None:
        text = f"{_extreme(axis.high, kind, say)} →"
        parts.append(text_at(WIDTH - _MARGIN, _BASE + 15, text, anchor="end", class_="muted-text"))
        ends[1] -= _text_width(text) + 6
    for value, label in labels:
        x, half = _MARGIN + axis.at(value) * room, _text_width(label) / 2
        parts.append(line(x, _BASE, x, _BASE + 3, "axis"))
        # Labels at the ends stay inside the picture, and one that would touch its neighbour is left out.
        shifted = min(max(x, half), WIDTH - half)
        if ends[0] <= max(x - half, _MARGIN) and min(x + half, WIDTH - _MARGIN) <= ends[1]:
            parts.append(text_at(shifted, _BASE + 15, label, anchor="middle"))
            ends[0] = shifted + half + 4
    return joined(parts)


def _extreme(value: float, kind: str, say: Say) -> str:
    return figures.short_moment(value, say) if kind == "timestamp" else figures.number(value, 3)


def _text_width(text: str) -> float:
    """Return about how wide a label is, in a font of 11 pixels."""
    return 6.8 * letters(text)


def _columns(cells: Sequence[Cell], say: Say) -> Markup:
    """Return upright pairs of bars, one for each number, in their order."""
    room = (WIDTH - 2 * _MARGIN) / len(cells)
    width = min(18.0, 0.36 * room)
    top = max(max(cell.reference, cell.live) for cell in cells) or 1.0
    parts = [line(_MARGIN, _BASE, WIDTH - _MARGIN, _BASE, "axis")]
    end = 0.0
    # Both bars share a baseline and touch each other, and pairs do not: the eye compares within a pair.
    for at, cell in enumerate(cells):
        middle = _MARGIN + (at + 0.5) * room
        before, now = cell.reference / top * _PLOT, cell.live / top * _PLOT
        parts += [
            rect(middle - width, _BASE - before, width, before, "reference"),
            rect(middle, _BASE - now, width, now, "live-bar"),
            tag("g", tag("title", _hint(cell, say)), rect(middle - room / 2, _TOP, room, _PLOT, "hit")),
        ]
        label = fitted(cell.label, 9)
        half = _text_width(label) / 2
        if middle - half >= end:
            parts.append(text_at(middle, _BASE + 15, label, anchor="middle"))
            end = middle + half + 3
    return joined(parts)


def _rows(cells: Sequence[Cell], y: float, say: Say) -> tuple[Markup, float]:
    """Return pairs of bars below each other with labels and shares, and where they end."""
    room = WIDTH - _LABEL - _VALUES
    # A tenth of the rows at least: a chart of missing values must not blow up one in a thousand.
    top = max(0.1, *(max(cell.reference, cell.live) for cell in cells))
    parts = []
    for cell in cells:
        values = f"{figures.share(cell.reference)} → {figures.share(cell.live)}"
        parts += [
            tag(
                "text",
                tag("title", _hint(cell, say)),
                fitted(cell.label, _LABEL_LENGTH),
                x=_LABEL - 8,
                y=y + _BAR + 4,
                text_anchor="end",
                class_="label",
            ),
            rect(_LABEL, y, cell.reference / top * room, _BAR, "reference"),
            rect(_LABEL, y + _BAR, cell.live / top * room, _BAR, "live-bar"),
            line(_LABEL, y - 1, _LABEL, y + 2 * _BAR + 1, "axis"),
            text_at(WIDTH, y + _BAR + 4, values, anchor="end", class_="value"),
        ]
        y += _ROW
    return joined(parts), y


def _hint(cell: Cell, say: Say) -> str:
    return say(
        "{cell}: reference {reference}, live {live}",
        cell=shortened(cell.label, 80),
        reference=figures.share(cell.reference),
        live=figures.share(cell.live),
    )
