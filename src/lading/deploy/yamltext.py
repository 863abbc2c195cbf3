"""YAML with comments: what surprises in a manifest says why, beside itself.

A manifest is made of plain dictionaries and lists in which a `Noted` may stand for a value. `plain` takes the
comments off, for clusters and tests; `documents` writes them. Reads no YAML.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

WIDTH = 110


@dataclass(frozen=True, slots=True)
class Noted:
    """A value, and why it is so."""

    value: Any
    why: str


def plain(value: Any) -> Any:
    """Return `value` without its comments."""
    match value:
        case Noted():
            return plain(value.value)
        case dict():
            return {key: plain(one) for key, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
    return value


def documents(manifests: Iterable[Any]) -> str:
    """Write manifests as YAML documents, each after a line ``---``."""
    return "".join(f"---\n{document(one)}" for one in manifests)


def document(manifest: Any) -> str:
    """Write one manifest as YAML."""
    lines: list[str] = []
    while isinstance(manifest, Noted):
        lines += _comment(manifest.why, 0)
        manifest = manifest.value
    return "\n".join([*lines, *_lines(manifest, 0)]) + "\n"


def _lines(value: Any, depth: int) -> Iterator[str]:
    """Write a dictionary or list that is not empty; what it holds is indented by `depth` spaces."""
    pad = " " * depth
    is_list = not isinstance(value, dict)
    for key, one in enumerate(value) if is_list else value.items():
        while isinstance(one, Noted):
            yield from _comment(one.why, depth)
            one = one.value  # noqa: PLW2901 - the comment is written
        head = f"{pad}-" if is_list else f"{pad}{scalar(key)}:"
        if not isinstance(one, dict | list | tuple) or not one:
            yield f"{head} {scalar(one)}"
        elif is_list and not _begins_noted(one):
            first, *rest = _lines(one, depth + 2)
            yield f"{head} {first.lstrip()}"
            yield from rest
        else:
            yield head
            yield from _lines(one, depth + 2)


def scalar(value: Any) -> str:
    """Write a scalar, or an empty dictionary or list, on one line.

    By YAML 1.1, as Kubernetes reads it: `on`, `yes` and `1:30` are quoted where they are strings.
    """
    import yaml

    is_plain = not isinstance(value, str) or value.isprintable()
    text: str = yaml.safe_dump(
        value, width=float("inf"), allow_unicode=is_plain, default_style=None if is_plain else '"'
    )
    return text.removesuffix("...\n").rstrip("\n")


def _begins_noted(value: Any) -> bool:
    """Return whether a comment comes before anything else of `value`, so that it cannot begin behind a dash."""
    if isinstance(value, Noted):
        return True
    if isinstance(value, dict | list | tuple) and value:
        return _begins_noted(next(iter(value.values() if isinstance(value, dict) else value)))
    return False


def _comment(why: str, depth: int) -> list[str]:
    pad = " " * depth
    return [f"{pad}# {line}" for line in textwrap.wrap(why, WIDTH - depth - 2, break_long_words=False)]
