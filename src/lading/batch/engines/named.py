"""The engines by their names. Loads only the one that is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from lading.errors import InvalidSetting, missing_extra

if TYPE_CHECKING:
    from lading.batch.plan import Task
    from lading.batch.scoring import Done
    from lading.batch.work import Refused, Work

ENGINES = {
    "local": "lading.batch.engines.local",
    "ray": "lading.batch.engines.ray",
    "spark": "lading.batch.engines.spark",
}
"""The module of each engine."""


class Score(Protocol):
    """Scores tasks with up to `processes` at a time (0: one for each CPU), and iterates over them as done."""

    def __call__(self, work: Work, tasks: Sequence[Task], processes: int) -> Generator[Done | Refused]:
        """Say of each machine that is refused that it is, once; what it had is scored by others.

        Raise `LadingError` for what would fail in any other process as well, and if no machine is left.
        """


def engine(name: str) -> Score:
    """Return what scores for the engine `name`. Raises `InvalidSetting` and `ExtraMissing`."""
    if name not in ENGINES:
        known = ", ".join(f"`{known}`" for known in ENGINES)
        raise InvalidSetting("`--engine`", expected=known, found=f"`{name}`")
    try:
        module = importlib.import_module(ENGINES[name])
    except ModuleNotFoundError as error:
        raise missing_extra(f"`--engine {name}`", name, error) from error
    return cast("Score", module.score)
