"""Runs a model in a process that can be ended: the parent's side. What that process does is in `child`.

A model can end the process that runs it (a signal in native code, no memory left), or never end. Here either
becomes a sentence that names the step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from lading import errors
from lading.bundle import Bundle
from lading.bundle.reader import Stamp
from lading.errors import LadingError, ModelCrashed, ModelEndless, RunFailed
from lading.evidence import Check, GoldenRow
from lading.onnx_runtime import import_onnxruntime
from lading.runtime.host.signals import name_of_signal
from lading.runtime.python.host import DEFAULT_HOST, Allow, PythonHost

Kind = Literal["verify", "rehearse"]
"""Every check of a model, or what a server does with it before its first request."""

ACTIONS = {
    "onnx": "running the ONNX checker",
    "opset": "reading the versions of the model",
    "session": "loading the model",
    "signature": "comparing the signature",
    "golden": "running the golden samples",
    "batch": "running rows alone and together",
    "latency": "timing runs",
    "warm": "running many rows",
}
"""What is done in each step, for the middle of a sentence."""

EXPECTED_END = "a model that runs to its end"
_BY_SIGNAL = "ended with SIG"
_LONGEST_LAST_LINE = 160


class Job(msgspec.Struct, frozen=True, array_like=True):
    """What to do with the bundle at ``path``, whose files the process ``parent`` has just checked."""

    kind: Kind
    path: str
    digest: str
    threads: int
    timeout_s: float
    parent: int
    stamps: dict[str, Stamp]
    allow: Allow = "none"
    wheels: str = ""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of output: a step that begins, a check that was made, numbers, or the error of the job."""

    step: str = ""
    check: Check | None = None
    numbers: dict[str, float] = {}
    worst: tuple[GoldenRow, ...] | None = None
    error: tuple[str, dict[str, Any]] | None = None


@dataclass(frozen=True)
class Outcome:
    """What the process reported, and how it ended; ``fault`` is None if it ended by itself.

    ``killed`` is whether something from outside ended it, most often the kernel because memory ran out.
    """

    records: Sequence[Record]
    step: str
    fault: ModelCrashed | ModelEndless | RunFailed | None
    killed: bool = False

    @property
    def check(self) -> Check | None:
        """The fault as a check that failed, or None if there was no fault."""
        fault = self.fault
        if fault is None:
            return None
        return Check(self.step, "failed", fault.expected or "", fault.found or "", fault.hint or "")

    @property
    def is_crash(self) -> bool:
        """Whether the model itself ended the process: it would do so again."""
        return self.check is not None and is_crash(self.check)

    def raise_error(self) -> None:
        """Raise the fault, or the error that ended the job; do nothing if it succeeded."""
        if self.fault is not None:
            raise self.fault
        for record in self.records:
            if record.error is not None:
                raise _error(record.error)


class Child:
    """One process that does one `Job`, from the constructor on; `outcome` waits for it."""

    def __init__(
        self,
        kind: Kind,
        bundle: Bundle,
        *,
        threads: int,
        timeout_s: float,
        python: PythonHost = DEFAULT_HOST,
    ) -> None:
        self._label = bundle.manifest.name
        self._timeout_s = timeout_s
        self._first = "onnx" if kind == "verify" else "session"
        stamps = dict(bundle.stamps)
        path, wheels = str(bundle.path.absolute()), str(python.wheels.absolute()) if python.wheels else ""
        job = Job(kind, path, bundle.digest, threads, timeout_s, os.getpid(), stamps, python.allow, wheels)
        # -P keeps the current directory off the path: a `numpy.py` there must not be imported.
        command = [sys.executable, "-P", "-m", "lading.verify.child", msgspec.json.encode(job).decode()]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def outcome(self) -> Outcome:
        """Wait until the process ends or its time is up, and return what it reported."""
        late = False
        try:
            output, messages = self._process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            late = True
            self.kill()
            output, messages = self._process.communicate()
        except BaseException:  # Ctrl-C, which the process itself ignores
            self.kill()
            self._process.communicate()
            raise
        records = _records(output)
        step = next((record.step for record in reversed(records) if record.step), self._first)
        code = self._process.returncode
        if not late and code == 0:
            return Outcome(records, step, None)
        if late or code == -signal.SIGALRM:
            return Outcome(records, step, self._endless(step))
        fault = self._crashed(step, code, _last_line(messages))
        return Outcome(records, step, fault, killed=code == -signal.SIGKILL)

    def kill(self) -> None:
        """End the process now; `outcome` then returns that it was ended. Twice is no error."""
        self._process.kill()

    def _endless(self, step: str) -> ModelEndless:
        ending = f"that {ACTIONS[step]} had not ended after {self._timeout_s:g} s"
        hint = "a loop in the model may not end, or it needs more time than the limit"
        return ModelEndless(f"`{self._label}`", expected=EXPECTED_END, found=ending, hint=hint)

    def _crashed(self, step: str, code: int, last: str) -> ModelCrashed | RunFailed:
        where = f"`{self._label}`"
        library = "the onnx package" if step == "onnx" else f"ONNX Runtime {import_onnxruntime().__version__}"
        if code >= 0:
            ending = f"that {ACTIONS[step]} ended its process with exit code {code}{last}"
            return RunFailed(where, expected=EXPECTED_END, found=ending)
        ending = f"that {ACTIONS[step]} ended with {name_of_signal(-code)} in {library}{last}"
        hint = "no process survives this; export the model without the operator that causes it"
        if -code == signal.SIGKILL:
            hint = "the kernel ends a process so when memory runs out"
        return ModelCrashed(where, expected=EXPECTED_END, found=ending, hint=hint)


def is_crash(check: Check) -> bool:
    """Return whether a check failed because the model ended its process with a signal of its own.

    SIGKILL is none: it comes from outside, most often because memory ran out, which another time it may not.
    """
    crashed = check.outcome == "failed" and check.expected == EXPECTED_END and _BY_SIGNAL in check.found
    return crashed and name_of_signal(signal.SIGKILL) not in check.found


def _records(output: bytes) -> list[Record]:
    """Return the records in the output; a last one that was cut off is none."""
    lines = output.split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=Record) for line in lines]


def _last_line(messages: bytes) -> str:
    """Return the last line that the process wrote for people, in brackets; empty if there is none."""
    lines = messages.decode(errors="replace").split("\n")
    # What C++ says about an exception that nobody caught, or Python about one.
    telling = [line.strip() for line in lines if line.strip() and "/" not in line]
    return f" ({telling[-1][:_LONGEST_LAST_LINE]})" if telling else ""


def _error(value: tuple[str, dict[str, Any]]) -> LadingError:
    """Make an error again from its class and its attributes, which are its constructor's arguments."""
    name, attributes = value
    kind: type[LadingError] = getattr(errors, name)
    return kind(**attributes)
