"""What a Python worker of Spark does for a run: it proves the bundle once, then scores parts as they come."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lading.batch.on_spark.refusals import MachineRefusal, Refusal
from lading.batch.on_spark.shipping import Shipped
from lading.batch.plan import Plan
from lading.batch.scoring import Done, Scorer
from lading.batch.shipping import (
    check_buckets,
    check_input,
    check_libraries,
    check_shared,
    machine,
    on_this_machine,
)
from lading.batch.work import Refused
from lading.bundle import Bundle
from lading.errors import LadingError, RegistryUnavailable
from lading.runtime.python.host import PythonHost

_proved: dict[str, tuple[Scorer, Bundle]] = {}
"""The scorer and the bundle of the run at which this process is. Spark keeps its workers for further tasks,
and gives them nothing to keep things in; what has proved itself here need not do so for each part."""


class Answer(msgspec.Struct, frozen=True):
    """The outcome of a part: it is done, or was refused for a reason that holds on every machine."""

    done: Done | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Parts:
    """The tasks of a plan as executors get them, and the name of the run.

    `mark` is the file by which they know the run's folder; None for one in a bucket. `libraries` are those of
    the driver, by whose versions bytes are decided.
    """

    shipped: Shipped
    plan: Plan
    parts: Path | str
    mark: Path | None
    run: str
    python: PythonHost
    libraries: Mapping[str, str]

    def score(self, at: int) -> bytes:
        """Score the task at a place in the plan and return the `Answer` as JSON.

        Raises `MachineRefusal` where another machine may do better.
        """
        task = self.plan.tasks[at]
        try:
            check_shared(self.mark)
            check_input(self.plan.files[task.file])
            scorer = self._scorer()
        except LadingError as error:
            leave_refusal(self.mark, error)
            raise MachineRefusal(error) from error
        try:
            with on_this_machine():
                answer = Answer(done=scorer.score(task, self.parts))
        except RegistryUnavailable as error:
            raise MachineRefusal(error) from error
        except LadingError as error:
            answer = Answer(refusal=Refusal.of(error))
        return msgspec.json.encode(answer)

    def _scorer(self) -> Scorer:
        if self.run not in _proved:
            # One at a time: a worker that changes between runs must not keep all their models.
            while _proved:
                _proved.popitem()[1][0].close()
            check_libraries(self.libraries)
            check_buckets(self.plan, self.parts)
            # Kept: what is in use is not removed to make room.
            bundle = self.shipped.bundle()
            _proved[self.run] = Scorer(bundle, self.plan, self.python), bundle
        return _proved[self.run][0]


def leave_refusal(mark: Path | None, error: LadingError) -> None:
    """Say beside the mark why this machine is refused: Spark passes nothing on of a task that fails."""
    if mark is None:
        return  # Of a run in a bucket, the log of Spark's driver says it alone.
    reason = Refused(node=machine(), reason=str(error))
    # A machine that does not see the folder of the run has no other way to say so than to fail.
    with contextlib.suppress(OSError):
        if mark.exists():
            mark.with_name(f"{mark.name}-{reason.node}").write_bytes(msgspec.json.encode(reason))


def left_refusals(mark: Path | None) -> dict[Path, Refused]:
    """Return the refusals that machines have left, by their files."""
    refusals: dict[Path, Refused] = {}
    for path in [] if mark is None else sorted(mark.parent.glob(f"{mark.name}-*")):
        # Half written, it is whole the next time.
        with contextlib.suppress(msgspec.DecodeError, FileNotFoundError):
            refusals[path] = msgspec.json.decode(path.read_bytes(), type=Refused)
    return refusals
