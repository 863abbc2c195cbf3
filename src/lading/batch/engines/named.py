"""The engines by their names. Loads only the one that is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from lading.errors import InvalidSetting

if TYPE_CHECKING:
    from lading.batch.plan import Task
    from lading.batch.scoring import Done
    from lading.batch.work import Work

ENGINES = {"local": "lading.batch.engines.local"}
"""The module of each engine."""


class Score(Protocol):
    """Scores tasks with up to `processes` at a time, and iterates over them as they are done."""

    def __call__(self, work: Work, tasks: Sequence[Task], processes: int) -> Iterator[Done]:
        """Raise `LadingError` for what would fail in any other process as well."""


def engine(name: str) -> Score:
    """Return what scores for the engine `name`. Raises `InvalidSetting` and `ExtraMissing`."""
    if name not in ENGINES:
        known = ", ".join(f"`{known}`" for known in ENGINES)
        raise InvalidSetting("`--engine`", expected=known, found=f"`{name}`")
    return cast("Score", importlib.import_module(ENGINES[name]).score)
