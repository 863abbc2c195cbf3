"""Servers of other kinds: the contract that each kind implements, and how answers are parsed.

Each other file here is one kind. Only requests that any client may send are sent, and an answer that does
not have the documented form counts as no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import msgspec

from lading.bounded_http import fetch
from lading.replica import ReplicaModel

T = TypeVar("T")

MAX_ANSWER_BYTES = 1 << 20
# The longest name, reason or list of inputs that is kept of a model.
MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server reported: its software, with the version if that is known, and its models."""

    software: str
    models: tuple[ReplicaModel, ...]


Ask = Callable[[httpx.Client, Sequence[str]], Answer | None]
"""Ask a server about the models with these names, or all that it lists; None if it is of another kind."""


def get(http: httpx.Client, path: str, kind: type[T]) -> T | None:
    """Get the JSON at `path` as a `kind`, or None as `parse` does."""
    return parse(request(http, "GET", path), kind)


def request(http: httpx.Client, method: str, path: str, **content: Any) -> httpx.Response:
    """Return a whole answer; a redirect is one, and is not followed. Raises `AnswerRefused`."""
    return fetch(
        http,
        http.build_request(method, path, **content),
        max_bytes=MAX_ANSWER_BYTES,
        within_s=http.timeout.read,
        may_follow=lambda _: False,
    )


def parse(response: httpx.Response, kind: type[T]) -> T | None:
    """Return the body of a response as a `kind`, or None if its status is not 200 or its form another."""
    if response.status_code != httpx.codes.OK:
        return None
    try:
        return msgspec.json.decode(response.content, type=kind)
    except ValueError:
        return None


def make_model(name: str, version: str = "", **facts: Any) -> ReplicaModel:
    """Return a model with its version as a number or, if it is none, as text."""
    # 18 digits fit into 64 bits, which is what the catalog stores.
    number = int(version) if version.isascii() and version.isdecimal() and len(version) < 19 else 0
    texts: dict[str, Any] = {"version_text": "" if number else version, **facts}
    cut: dict[str, Any] = {
        key: text[:MAX_TEXT] if isinstance(text, str) else text for key, text in texts.items()
    }
    return ReplicaModel(name=name[:MAX_TEXT], version=number, **cut)
