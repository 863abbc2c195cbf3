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

from lading.replica import ReplicaModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server reported: its software, with the version if that is known, and its models."""

    software: str
    models: tuple[ReplicaModel, ...]


Ask = Callable[[httpx.Client, Sequence[str]], Answer | None]
"""Ask a server about the models with these names, or all that it lists; None if it is of another kind."""


def get(http: httpx.Client, path: str, kind: type[T]) -> T | None:
    """Get the JSON at `path` as a `kind`, or None as `parse` does."""
    return parse(http.get(path), kind)


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
    return ReplicaModel(name=name, version=number, version_text="" if number else version, **facts)
