"""What divides the parts of a run among processes: the contract, and one module for each engine."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lading.batch.plan import Task
    from lading.batch.scoring import Done
    from lading.batch.work import Refused, Work


class Score(Protocol):
    """Scores tasks with up to `processes` at a time (0: one for each CPU), and iterates over them as done."""

    def __call__(self, work: Work, tasks: Sequence[Task], processes: int) -> Generator[Done | Refused]:
        """Say of each machine that is refused that it is, once; what it had is scored by others.

        Raise `LadingError` for what would fail in any other process as well, and if no machine is left.
        """


class Engine:
    """What scores the tasks of one run: `score`, and nothing to be kept ready before it."""

    def __init__(self, score: Score) -> None:
        self.score = score

    def expect(self, size_bytes: int, processes: int) -> None:
        """Get ready for inputs of so many bytes on this machine, which are about to be looked at."""

    def close(self) -> None:
        """Let go of what was kept ready."""
