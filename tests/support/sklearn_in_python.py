"""Estimators that are refused as ONNX, packed to run in Python: asked in their environment, bit for bit.

The requirements of all of them are the same but for a few: each set is resolved once.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from lading.bundle.requests import request_signature
from lading.convert.sklearn import SklearnModel, methods_of
from lading.errors import ConversionError, LadingError
from lading.pack import pack
from lading.runtime.open import load_runtime
from lading.runtime.python.resolver import Resolver
from support.sklearn_asking import as_array
from support.sklearn_rows import hard_rows
from support.sklearn_survey import SmallTable, fitted, tables, with_gaps

ROWS_AT_ONCE = 10


@dataclass(frozen=True)
class InPython:
    """``result`` is "Python" or "refused"; of the ``rows`` asked, the bundle alone refuses ``refused``.

    ``otherwise`` counts those whose bits differ, ``alone`` those that the estimator itself does not answer.
    """

    name: str
    kind: str
    table: str
    result: str
    storage: str = ""
    outputs: str = ""
    why: str = ""
    rows: int = 0
    otherwise: int = 0
    alone: int = 0
    refused: int = 0
    example: str = ""


def survey_in_python(name: str, kind: str, estimator: type, folder: Path) -> InPython | None:
    """Pack an estimator as it is, and ask it; return None if it fits none of the tables."""
    refused: InPython | None = None
    for table in _tables(kind):
        model = fitted(estimator, table)
        if model is None:
            continue
        outcome = pack_in_python(name, kind, model, table, folder)
        if outcome.result != "refused":
            return outcome
        if refused is None or not outcome.why.startswith("SamplesRefused"):
            refused = outcome
        if outcome.why.startswith("ConverterMissing"):
            break  # whatever the table, it has no answer
    return refused


def pack_in_python(name: str, kind: str, model: Any, table: SmallTable, folder: Path) -> InPython:
    """Pack a fitted model to run in Python and compare its bundle with it, on rows that packing never saw."""
    to = folder / re.sub(r"[^a-z0-9-]+", "-", f"{name}-{table.title}-python".lower())
    try:
        with warnings.catch_warnings(), resolved_once():
            warnings.simplefilter("ignore")
            bundle = pack(
                model, name="surveyed", samples=table.samples, owner="ml@example.com", to=to, runtime="python"
            )
    except ConversionError as error:
        why = f"{type(error).__name__}: {error.message}"
        return InPython(name, kind, table.title, "refused", why=why)
    manifest = bundle.manifest
    kinds = [("held out", table.held_out), *hard_rows(model, table.rows)]
    counts = ask_in_python(bundle, model, [rows for _, rows in kinds if len(rows)])
    listed = ", ".join(f"`{tensor.name}` {tensor.dtype}" for tensor in manifest.signature.outputs)
    storage = "skops" if manifest.executes is False else f"skops, executes {manifest.executes}"
    return InPython(name, kind, table.title, "Python", storage, listed, **counts)


@contextmanager
def resolved_once() -> Iterator[None]:
    """Answer a set of requirements that was resolved before as it was then."""
    with patch.object(Resolver, "resolve", _resolved):
        yield


_resolve = Resolver.resolve
_locks: dict[Any, Any] = {}


def _resolved(self: Resolver, lines: Any, constraints: Any) -> Any:
    key = (self, tuple(lines), tuple(sorted(constraints.items())))
    if key not in _locks:
        _locks[key] = _resolve(self, lines, constraints)
    return _locks[key]


def ask_in_python(bundle: Any, model: Any, groups: list[Any]) -> dict[str, Any]:
    """Ask both the same rows, at most `ROWS_AT_ONCE` of them; what differs by one bit is counted."""
    signature = request_signature(bundle.manifest, bundle.samples())
    names = methods_of(SklearnModel(model))
    counts: dict[str, Any] = {"rows": 0, "otherwise": 0, "alone": 0, "refused": 0, "example": ""}
    runtime = load_runtime(bundle)
    try:
        for group in groups:
            for at in range(0, len(group), ROWS_AT_ONCE):
                rows = group[at : at + ROWS_AT_ONCE]
                own, served = _own(model, names, rows), _served(runtime, signature, rows)
                counts["rows"] += len(rows)
                if own is None or served is None:
                    key = "alone" if served is not None else "refused" if own is not None else None
                elif all(_same(own[name], served[name]) for name in served):
                    key = None
                else:
                    key = "otherwise"
                if key is not None:
                    counts[key] += len(rows)
                if key in ("alone", "otherwise"):
                    counts["example"] = f"{rows[:1]} -> {served} for {own}"
    finally:
        runtime.close()
    return counts


def _own(model: Any, names: dict[str, str], rows: Any) -> dict[str, Any] | None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return {name: as_array(getattr(model, method)(rows)) for name, method in names.items()}
        except Exception:  # noqa: BLE001 - whatever it raises, it does not answer
            return None


def _served(runtime: Any, signature: Any, rows: Any) -> dict[str, Any] | None:
    try:
        return dict(runtime.run(signature.cast_rows(json.loads(json.dumps(rows.tolist())))))
    except LadingError:
        return None


def _same(own: Any, served: Any) -> bool:
    if served.dtype.kind == "O":
        return own.astype(str).tolist() == served.tolist()
    return own.shape == served.shape and np.array_equal(
        own.astype(served.dtype), served, equal_nan=own.dtype.kind == "f"
    )


def _tables(kind: str) -> Iterator[SmallTable]:
    """Return the small tables, one with missing values, and pictures."""
    own = list(tables(kind))
    yield from own
    if kind in ("transformer", "other"):
        yield with_gaps(own[0])
        pictures = np.random.default_rng(5).random((150, 20, 20))
        species = own[0].target
        yield SmallTable("pictures", pictures[:100], species[:100], pictures[100:], pictures[:100])
