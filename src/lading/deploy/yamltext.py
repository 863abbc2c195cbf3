"""YAML with comments, so that a surprising field of a manifest states its reason.

A manifest consists of plain dictionaries and lists in which a `Noted` may take the place of a value. `plain`
removes the comments, for clusters and tests; `documents` writes them. Reads no YAML.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

WIDTH = 110


@dataclass(frozen=True, slots=True)
class Noted:
    """A value with the reason for it, which becomes a comment."""

    value: Any
    why: str


def plain(value: Any) -> Any:
    """Return `value` without its comments."""
    match value:
        case Noted():
            return plain(value.value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return value


def documents(manifests: Iterable[Any]) -> str:
    """Return manifests as YAML documents, each after a line ``---``."""
    return "".join(f"---\n{document(manifest)}" for manifest in manifests)


def document(manifest: Any) -> str:
    """Return one manifest as YAML."""
    lines: list[str] = []
    # A value may have several comments, the outermost first.
    while isinstance(manifest, Noted):
        lines += _comment(manifest.why, 0)
        manifest = manifest.value
    return "\n".join([*lines, *_lines(manifest, 0)]) + "\n"


def _lines(value: Any, depth: int) -> Iterator[str]:
    """Iterate over the lines of a dictionary or list that is not empty, indented by `depth` spaces."""
    pad = " " * depth
    is_list = not isinstance(value, dict)
    for key, item in enumerate(value) if is_list else value.items():
        while isinstance(item, Noted):
            yield from _comment(item.why, depth)
            item = item.value  # noqa: PLW2901 - the comment is written
        head = f"{pad}-" if is_list else f"{pad}{scalar(key)}:"
        if not isinstance(item, dict | list | tuple) or not item:
            yield f"{head} {scalar(item)}"
        elif is_list and not _begins_with_comment(item):
            # The first line goes after the dash.
            first, *rest = _lines(item, depth + 2)
            yield f"{head} {first.lstrip()}"
            yield from rest
        else:
            yield head
            yield from _lines(item, depth + 2)


def scalar(value: Any) -> str:
    """Return a scalar, or an empty dictionary or list, on one line."""
    # PyYAML writes YAML 1.1, which Kubernetes reads: the strings `on`, `yes` and `1:30` are quoted.
    import yaml

    # Text with control characters needs the escapes of double quotes.
    is_plain = not isinstance(value, str) or value.isprintable()
    text: str = yaml.safe_dump(
        value, width=float("inf"), allow_unicode=is_plain, default_style=None if is_plain else '"'
    )
    return text.removesuffix("...\n").rstrip("\n")


def _begins_with_comment(value: Any) -> bool:
    """Return whether the first line of `value` is a comment, which cannot follow a dash."""
    if isinstance(value, Noted):
        return True
    if isinstance(value, dict | list | tuple) and value:
        return _begins_with_comment(next(iter(value.values() if isinstance(value, dict) else value)))
    return False


def _comment(why: str, depth: int) -> list[str]:
    pad = " " * depth
    return [f"{pad}# {line}" for line in textwrap.wrap(why, WIDTH - depth - 2, break_long_words=False)]
