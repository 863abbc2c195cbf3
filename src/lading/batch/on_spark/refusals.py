"""Errors of lading on their way from a Python worker of Spark to the driver, through two languages."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from lading import errors
from lading.batch.on_spark.session import first_line
from lading.errors import LadingError, NotSupported, RunFailed

_MARKED = re.compile(r"lading refuses this machine: (\{.*\})")


class Refusal(msgspec.Struct, frozen=True):
    """An error by its class and what it is made of."""

    kind: str
    parts: dict[str, Any]

    @classmethod
    def of(cls, error: LadingError) -> Refusal:
        """Describe `error`."""
        return cls(type(error).__name__, dict(vars(error)))

    def error(self) -> LadingError:
        """Return the error that was described."""
        kind: type[LadingError] = getattr(errors, self.kind)
        return kind(**self.parts)


class MachineRefusal(Exception):
    """Fails a task of Spark, which tries it elsewhere: on this machine the bundle does not hold."""

    def __init__(self, error: LadingError) -> None:
        # On one line, so that it can be read back from what Spark says of the task.
        super().__init__(f"lading refuses this machine: {msgspec.json.encode(Refusal.of(error)).decode()}")


def error_of_job(failure: BaseException) -> LadingError:
    """Return the error that a job of Spark has failed with, as far as it can be read from `failure`."""
    text = str(failure)
    if marked := _MARKED.search(text):
        return msgspec.json.decode(marked[1], type=Refusal).error()
    if "No module named 'lading'" in text:
        hint = "set `PYSPARK_PYTHON` to a Python with lading on every machine"
        return NotSupported("the executors of Spark", expected="lading", found="none", hint=hint)
    lines = [line.strip() for line in text.splitlines()]
    # Spark says first how often it tried, then why; Python's own reason is the last line of a traceback.
    python = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    actual = next((line for line in python if not line.startswith(("org.", "java."))), first_line(failure))
    hint = "the log of Spark's driver has the whole story"
    return RunFailed("the job of Spark", expected="every part scored", found=actual, hint=hint)
