"""Elements of HTML and SVG, escaped by construction. Knows nothing of charts and models."""

from __future__ import annotations

import html
from collections.abc import Iterable
from unicodedata import east_asian_width

_VOID = frozenset({"br", "circle", "line", "meta", "path", "rect"})
# The joiner of emoji and the unbreakable space: unlike other invisible characters they reorder nothing.
_HARMLESS = "\u200d\u00a0"


class Markup(str):
    """Text that is markup already. Any other text is escaped when it becomes part of an element."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Return `text` as markup that shows it, with every unprintable character as its escape sequence."""
    if not text.isprintable():
        text = "".join(
            char if char.isprintable() or char in _HARMLESS else ascii(char)[1:-1] for char in text
        )
    return Markup(html.escape(text))


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """Return an element; ``class_`` is ``class``, ``aria_label`` is ``aria-label``, and None is left out.

    The result is well-formed XML, too, so that any parser reads it.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is not None:
            # A tenth of a pixel is what can be seen; more digits would double the page.
            text = value if isinstance(value, str) else coordinate(value)
            parts.append(f'{key.rstrip("_").replace("_", "-")}="{escaped(text)}"')
    start = " ".join(parts)
    # SVG and HTML differ in what may be empty; an end tag is right in both, except after these.
    if name in _VOID:
        return Markup(f"<{start}/>")
    return Markup(f"<{start}>{joined(children)}</{name}>")


def joined(children: Iterable[str], separator: str = "") -> Markup:
    """Return elements and texts after each other."""
    return Markup(
        escaped(separator).join(child if isinstance(child, Markup) else escaped(child) for child in children)
    )


def coordinate(value: float) -> str:
    """Return a number of an attribute, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def shortened(text: str, most: int) -> str:
    """Return `text`, cut off after `most` characters with an ellipsis if it is longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def fitted(text: str, most: int) -> str:
    """Return `text` in the room of `most` letters: what is too long keeps its beginning and its end."""
    if letters(text) <= most:
        return text
    # Categories often differ in their last letters only.
    start = text[: most // 2]
    while letters(start) > most // 2:
        start = start[:-1]
    end = text[-(most - most // 2 - 1) :]
    while letters(end) > most - most // 2 - 1:
        end = end[1:]
    return f"{start}…{end}"


def letters(text: str) -> int:
    """Return how much room a text takes, in letters; those of East Asia and emoji take two."""
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def name_element(text: str, most: int = 80) -> Markup:
    """Return the name of a column or category, kept from reordering the text around it, and not too long."""
    # `bdi` keeps a name that is written from right to left from turning round the words beside it.
    if len(text) <= most:
        return tag("bdi", text, class_="name", translate="no")
    cut = tag("bdi", shortened(text, most), class_="name", translate="no")
    return joined([cut, tag("span", f" ({len(text):,} characters)", class_="muted")])


def picture(width: float, height: float, title: str, description: str, *, id: str, body: str) -> Markup:
    """Return an SVG image of this size with a title and a description for those who do not see it."""
    return tag(
        "svg",
        tag("title", title, id=f"{id}-title"),
        tag("desc", description, id=f"{id}-desc"),
        body,
        role="img",
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        aria_labelledby=f"{id}-title {id}-desc",
    )


def text_at(x: float, y: float, text: str, *, anchor: str = "start", class_: str | None = None) -> Markup:
    """Return a text of an image; `anchor` is ``start``, ``middle`` or ``end``."""
    return tag("text", text, x=x, y=y, class_=class_, text_anchor=None if anchor == "start" else anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a line of an image."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    """Return a rectangle of an image."""
    return tag("rect", x=x, y=y, width=max(width, 0), height=max(height, 0), class_=class_)


def path(points: Iterable[tuple[float, float]], class_: str, *, closed: bool = False) -> Markup:
    """Return a line through points, or the area that it encloses."""
    steps = " ".join(f"{coordinate(x)},{coordinate(y)}" for x, y in points)
    return tag("path", d=f"M{steps}{'Z' if closed else ''}", class_=class_)
