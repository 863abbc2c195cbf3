"""Servers that are not ours: the contract of a kind of them, and how their answers are read.

Each other file here is one kind. Nothing is sent but questions that every client may ask, and an answer of
another form than documented is no answer.
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
class Found:
    """What a server said: its software, in words with the version if it tells, and its models."""

    software: str
    models: tuple[ReplicaModel, ...]


Ask = Callable[[httpx.Client, Sequence[str]], Found | None]
"""Ask a server about the models of these names, or all where it lists them; None if it is of another kind."""


def get(http: httpx.Client, path: str, kind: type[T]) -> T | None:
    """Ask for the JSON at `path`; None where there is none, or another than `kind`."""
    return read(http.get(path), kind)


def read(answer: httpx.Response, kind: type[T]) -> T | None:
    """Read a good answer; None for any other."""
    if answer.status_code != httpx.codes.OK:
        return None
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except ValueError:
        return None


def model(name: str, version: str = "", **said: Any) -> ReplicaModel:
    """Make a model of what was said; a version that is no number is kept as text."""
    number = int(version) if version.isascii() and version.isdecimal() and len(version) < 19 else 0
    return ReplicaModel(name=name, version=number, version_text="" if number else version, **said)
