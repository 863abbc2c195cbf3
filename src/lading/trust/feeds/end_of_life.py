"""Files of endoflife.date: a product's cycles of releases and when each ends.

Reads both forms of its API: ``/api/v1/products/NAME`` and ``/api/v1/products/full``, which state their own
date, and ``/api/NAME.json``, a list that names neither its product nor its date.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import msgspec

from lading.errors import FeedInvalid
from lading.trust.feeds import Cycle


class _Release(msgspec.Struct, rename="camel"):
    name: str
    is_eol: bool | None = None
    eol_from: str | None = None
    eoes_from: str | None = None


class _Product(msgspec.Struct):
    name: str
    releases: list[_Release]


class _Answer(msgspec.Struct):
    result: _Product | list[Any]
    generated_at: str = ""
    last_modified: str = ""


class _OldCycle(msgspec.Struct, rename="camel"):
    # Written as a number in some files, as in `"cycle": 3`.
    cycle: str | int | float
    eol: bool | str | None = None
    extended_support: bool | str | None = None


class ProductFile(msgspec.Struct, frozen=True):
    """The cycles of the products in one file, and its own date, if it states one."""

    date: str
    cycles: list[Cycle]


def read_products(data: bytes, where: str, path: str) -> ProductFile:
    """Return the cycles in a file of either form; `path` names the product of one that does not.

    Raises `FeedInvalid`.
    """
    try:
        # The older form is a list, the newer one an object.
        if data.lstrip()[:1] == b"[":
            return ProductFile("", _old(msgspec.json.decode(data, type=list[_OldCycle]), path))
        answer = msgspec.json.decode(data, type=_Answer)
        results = answer.result
        products = (
            [results] if isinstance(results, _Product) else msgspec.convert(results, type=list[_Product])
        )
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        reason = "JSON that is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise FeedInvalid(where, expected="a product of endoflife.date", found=reason) from None
    cycles = [
        Cycle(
            product=product.name,
            name=release.name,
            ends=release.eol_from or "",
            ended=release.is_eol,
            extended=release.eoes_from or "",
        )
        for product in products
        for release in product.releases
    ]
    return ProductFile(answer.generated_at or answer.last_modified, cycles)


def _old(entries: list[_OldCycle], path: str) -> list[Cycle]:
    product = PurePosixPath(path).name.partition(".")[0]
    return [
        Cycle(
            product=product,
            name=str(entry.cycle),
            ends=entry.eol if isinstance(entry.eol, str) else "",
            ended=entry.eol if isinstance(entry.eol, bool) else None,
            extended=entry.extended_support if isinstance(entry.extended_support, str) else "",
        )
        for entry in entries
    ]
