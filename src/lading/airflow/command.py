"""A `lading` command in a process of its own: what it printed, how it ended, and whether it may pass later.

Knows nothing of Airflow.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import msgspec

from lading.cli.ui.exit_codes import DONE, NOT_FOUND, REFUSED, STALE, USAGE_ERROR
from lading.runtime.host.signals import ending_with_parent, how_it_ended

END_GRACE_S = 10.0
"""A process that is asked to end has so long for it."""

_POLL_S = 0.05
_ERROR, _HINT = "error: ", "hint: "
# Ends that another try would only repeat: something was looked at, and is as it is.
_FINAL = (REFUSED, USAGE_ERROR, NOT_FOUND, STALE)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, what is on its stdout as JSON, and the sentence of its error."""

    code: int
    document: Any
    sentence: str

    @property
    def is_done(self) -> bool:
        """Return whether it did what it was to do."""
        return self.code == DONE

    @property
    def may_pass(self) -> bool:
        """Return whether the same command may succeed later."""
        return self.code not in _FINAL


def command_words(command: str | Sequence[str] | None) -> list[str]:
    """Return the words of a command line that runs lading: of the one that is named, else of this Python.

    A text is divided as a shell divides it.
    """
    if not command:
        return [sys.executable, "-m", "lading"]
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


class LadingProcess:
    """One run of a command, which ends with the process that runs it."""

    def __init__(self, command: Sequence[str], arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self._words = [*command, *arguments]
        self._environ = {**os.environ, **environ}
        self._process: subprocess.Popen[str] | None = None
        self._name = " ".join(["lading", *arguments[:1]])

    def run(self, on_line: Callable[[str], None]) -> Ended:
        """Run it, with each line of its stderr as it comes; an error at its end is in what is returned."""
        program = shutil.which(self._words[0], path=self._environ.get("PATH"))
        if program is None:
            sentence = f"`lading_command`: expected a program, found none at `{self._words[0]}`"
            return Ended(USAGE_ERROR, None, sentence)
        with tempfile.TemporaryFile() as stdout:
            # A group of its own, so that what it has started ends with it.
            self._process = subprocess.Popen(  # noqa: S603
                ending_with_parent([program, *self._words[1:]]),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                env=self._environ,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            try:
                error = self._follow(on_line)
                code = self._process.wait()
            except BaseException:  # A timeout of the task as well, which is no Exception.
                self.end()
                self._process.wait()
                raise
            return Ended(code, _document(stdout), self._sentence(code, error))

    def end(self) -> None:
        """Have its processes end, and wait until they have; also from the handler of a signal."""
        if self._process is None or self._process.returncode is not None:
            return
        deadline = time.monotonic() + END_GRACE_S
        number = signal.SIGTERM
        while not self._has_ended():
            with contextlib.suppress(ProcessLookupError):  # It has just ended by itself.
                os.killpg(self._process.pid, number)
            time.sleep(_POLL_S)
            if time.monotonic() > deadline:
                number = signal.SIGKILL

    def _has_ended(self) -> bool:
        assert self._process is not None
        # Not by `Popen`, whose lock is held by the code that the handler of a signal has interrupted.
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _follow(self, on_line: Callable[[str], None]) -> list[str]:
        """Pass the lines of stderr on as they come; return those of the error, which are the last."""
        assert self._process is not None
        assert self._process.stderr is not None
        error: list[str] = []
        with self._process.stderr as stderr:
            for line in stderr:
                text = line.rstrip()
                if text.startswith(_ERROR):
                    error = [text.removeprefix(_ERROR)]
                elif error and text.startswith(_HINT):
                    error.append(text)
                elif text:
                    on_line(text)
        return error

    def _sentence(self, code: int, error: list[str]) -> str:
        if code == DONE:
            return ""
        if error:
            return "\n".join(error)
        # Ended by something other than lading, which would have said why.
        hint = "\nhint: the kernel ends a process so when memory runs out" if code == -signal.SIGKILL else ""
        return f"`{self._name}`: expected it to end by itself, found {how_it_ended(code)}{hint}"


def _document(stdout: IO[bytes]) -> Any:
    """Return what a command has printed as JSON, or None if it printed none or was ended in the middle."""
    stdout.seek(0)
    try:
        return msgspec.json.decode(stdout.read())
    except msgspec.DecodeError:
        return None
