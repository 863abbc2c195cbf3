"""One process that runs a model's own code, as the process that serves sees it.

Restarts nothing (`session` does).
The process gets none of this one's environment but what is listed here, its own session, a folder of its own
that is removed with it, a limit of memory, and the connection. What it prints is logged. Only Linux has what
this takes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lading.errors import (
    DeadlineExceeded,
    LadingError,
    ModelCodeFailed,
    ModelInvalid,
    ModelOutputInvalid,
    ModelProcessEnded,
    NotSupported,
    RunFailed,
)
from lading.runtime.host.signals import how_it_ended
from lading.runtime.python import shim
from lading.runtime.python.output_log import LineLimit, OutputLog, printable
from lading.runtime.python.process_tree import memory_bytes, processes_below
from lading.signature import Array, Tensor

log = logging.getLogger("lading.model")

EndReason = Literal["crashed", "deadline", "memory", "stopped"]
"""Why a process ended: by itself or from outside, at a deadline, out of memory, or because it was closed."""

# Besides language and time, what chooses the kernels of libraries: with others the last bits differ, and
# people may have set one for all that computes on the machine.
_KEPT_VARIABLES = (
    "LANG",
    "LC_ALL",
    "TZ",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
)
_PATH = "/usr/local/bin:/usr/bin:/bin"
_ENDING_S = 0.5
# Libraries take the number of processors of the machine otherwise, in each process.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


@dataclass(frozen=True)
class ProcessSettings:
    """What a model process runs, and within which limits.

    ``entry`` is ``module:name`` of a class or function in ``code``, or ``lading:skops``, ``lading:joblib`` or
    ``lading:pickle`` for an object in ``files``. ``steps`` are those that the code has; ``preprocessed`` is
    what ``preprocess`` answers where an ONNX model follows it. ``memory_bytes`` limits what the process
    allocates (RLIMIT_DATA, numpy's and scikit-learn's own 100 to 500 MB included), and what it takes together
    with processes that it starts; 0 is no limit.
    """

    name: str
    interpreter: Path
    code: Path | None
    files: Path
    entry: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    steps: tuple[str, ...] = ("predict",)
    preprocessed: tuple[Tensor, ...] = ()
    memory_bytes: int = 0
    threads: int = 1
    most_output_bytes: int = 1 << 30

    def answers(self) -> dict[str, tuple[Tensor, ...]]:
        """Return what each step answers that may be the last of a run."""
        last = {self.steps[-1]: self.outputs}
        # Before an ONNX model it may be the only step, and what callers get is not its answer.
        return {**last, "preprocess": self.preprocessed} if self.preprocessed else last


class ModelProcess:
    """A process that was started, and is loading or has loaded its model.

    One thread at a time calls `load`, `run` and `ping`; all else may be called from others. It ends with the
    thread that constructed it, if that ends first. ``ended_because`` is why it was ended, None if it runs, or
    has ended by itself; ``end_reason`` is the same in a word.
    """

    def __init__(self, settings: ProcessSettings, limit: LineLimit | None = None) -> None:
        """Start the process; raises `ModelProcessEnded` if there is none, and `NotSupported`."""
        if sys.platform != "linux":
            raise NotSupported("a model's own code", expected="Linux to run it", found=f"`{sys.platform}`")
        self.settings = settings
        self._limit = limit or LineLimit()
        # Of their own: code that prints much may raise, too.
        self._tracebacks, self._unlogged = LineLimit(10, 0.2), 0
        self._reaping, self._closing = threading.Lock(), threading.Lock()
        self._closed = False
        self._deadline, self._deadline_s, self._doing = 0.0, 0.0, ""
        self.ended_because: LadingError | None = None
        self.end_reason: EndReason = "crashed"
        self._home = tempfile.mkdtemp(prefix="lading-model-")
        try:
            self._start()
        # RuntimeError: no thread can be started.
        except (OSError, RuntimeError) as error:
            shutil.rmtree(self._home, ignore_errors=True)
            raise ModelProcessEnded(
                f"a process for `{settings.name}`",
                expected=f"`{settings.interpreter}` to start",
                found=getattr(error, "strerror", None) or str(error),
            ) from None

    def _start(self) -> None:
        settings = self.settings
        settings.interpreter.stat()  # `Popen` would not say which file does not exist.
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as undo:
            connection, their_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            undo.enter_context(connection)
            theirs.enter_context(their_end)
            read_end, write_end = os.pipe()
            undo.callback(os.close, read_end)
            theirs.callback(os.close, write_end)
            # -I: no variables of Python's, no current folder on the path; -B: no files beside the code.
            options = ["-I", "-B", "-X", "utf8", shim.__file__, str(their_end.fileno())]
            self._process = subprocess.Popen(  # noqa: S603
                [str(settings.interpreter), *options],
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                cwd=self._home,
                env=process_environment(settings, self._home),
                pass_fds=(their_end.fileno(),),
                start_new_session=True,
            )
            undo.callback(self.wait)
            undo.callback(self.kill)
            self._process_descriptor = os.pidfd_open(self._process.pid)
            undo.callback(os.close, self._process_descriptor)
            self._output = OutputLog(settings.name, read_end, self._limit)
            undo.pop_all()
        connection.setblocking(False)
        self._connection = connection
        self._receiving, self._sending = select.poll(), select.poll()
        for poller, event in ((self._receiving, select.POLLIN), (self._sending, select.POLLOUT)):
            poller.register(connection, event)
            poller.register(self._process_descriptor, select.POLLIN)
        self._channel = shim.Channel(connection, self._wait, settings.most_output_bytes)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it was ended, or was seen to have ended; false tells nothing."""
        return self.ended_because is not None or self._process.returncode is not None

    def load(self, deadline_s: float) -> dict[str, Any]:
        """Load the model; return the versions of Python and numpy that run it.

        Raises `ModelInvalid`, `ModelCodeFailed`, `ModelProcessEnded`, `DeadlineExceeded`.
        """
        settings = self.settings
        request = {
            "op": "load",
            "code": None if settings.code is None else str(settings.code.absolute()),
            "files": str(settings.files.absolute()),
            "entry": settings.entry,
            "steps": settings.steps,
            "inputs": [_described(tensor) for tensor in settings.inputs],
            "answers": {step: list(map(_described, tensors)) for step, tensors in settings.answers().items()},
            "memory_bytes": settings.memory_bytes,
            "most_output_bytes": settings.most_output_bytes,
        }
        answer, _ = self._ask(f"loading `{settings.name}`", request, {}, deadline_s)
        return {key: answer.get(key) for key in ("python", "numpy")}

    def ping(self, deadline_s: float) -> None:
        """Return once the process has answered; raises `ModelProcessEnded`, `DeadlineExceeded`."""
        self._ask(f"a ping of `{self.settings.name}`", {"op": "ping"}, {}, deadline_s)

    def modules(self, deadline_s: float) -> list[str]:
        """Return the names of the modules that the model has imported; raises as `ping` does."""
        answer, _ = self._ask(f"the modules of `{self.settings.name}`", {"op": "modules"}, {}, deadline_s)
        return [str(name) for name in answer["modules"]]

    def run(
        self,
        arrays: Mapping[str, Array],
        deadline_s: float,
        *,
        steps: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Array]:
        """Pass `arrays` through `steps`, all if None; return the `outputs` of the last one, all if None.

        Raises `ModelCodeFailed` and `ModelOutputInvalid`, after which the process may be used further;
        `ModelProcessEnded`, `DeadlineExceeded` and `RunFailed`, after which it has ended.
        """
        steps = self.settings.steps if steps is None else tuple(steps)
        declared = self.settings.answers()[steps[-1]]
        request = {"op": "run", "steps": steps, "outputs": outputs}
        doing = f"the run of this request in `{self.settings.name}`"
        _, answers = self._ask(doing, request, arrays, deadline_s)
        wanted = [tensor for tensor in declared if outputs is None or tensor.name in outputs]
        # The process has checked them; but its code can do what it likes there.
        if [*answers] != [tensor.name for tensor in wanted] or not all(
            answers[tensor.name].dtype == tensor.numpy_dtype
            and answers[tensor.name].ndim == len(tensor.shape)
            for tensor in wanted
        ):
            raise self._end(self._garbled("outputs that it was not asked for"))
        return answers

    def kill(self, because: LadingError | None = None) -> None:
        """End the process and those that it has started; a call in flight raises `because`."""
        with self._reaping:
            if self._process.returncode is None:
                if self.ended_because is None and isinstance(because, DeadlineExceeded | RunFailed):
                    self.end_reason = "deadline"
                self.ended_because = self.ended_because or because
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def limit_memory(self) -> None:
        """End the process if it and those that it has started take more memory together than it may."""
        others = processes_below(self.pid) if not self.has_ended else []
        # Alone it has a limit of its own, which its code meets as a `MemoryError`.
        if not others or (used := memory_bytes([self.pid, *others])) <= self.settings.memory_bytes:
            return
        self.end_reason = "memory"
        self.kill(
            ModelProcessEnded(
                f"the process of `{self.settings.name}` and {len(others)} that it has started",
                expected=f"to fit into {self.settings.memory_bytes / 1e6:,.0f} MB together",
                found=f"{used / 1e6:,.0f} MB",
                hint="start fewer of them, or raise its memory limit; another process is started",
            )
        )

    def wait(self) -> int:
        """Wait until the process has ended; return its exit code, below 0 for a signal."""
        with contextlib.suppress(ChildProcessError):  # Another thread was quicker.
            # It stays a zombie, so that the number of its group is no other's until the group is killed, too.
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with self._reaping:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()

    def close(self, patience_s: float = 2.0) -> None:
        """End the process, which may do so by itself within `patience_s`, and remove its folder.

        No call may be in flight. Twice is no error.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
            # The end of the connection ends it, and lets it run what its code has registered for its exit.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            _is_readable(self._process_descriptor, patience_s)
            self.kill()
            self.wait()
            self._output.end()
            self._channel.close()
            os.close(self._process_descriptor)
            shutil.rmtree(self._home, ignore_errors=True)

    def _ask(
        self, doing: str, request: Mapping[str, Any], arrays: Mapping[str, Array], deadline_s: float
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        self._deadline, self._deadline_s, self._doing = time.monotonic() + deadline_s, deadline_s, doing
        try:
            self._channel.send(request, arrays)
            answer, outputs = self._channel.receive()
        except (ConnectionError, EOFError):
            raise self._end() from None
        except OSError as error:  # Of this process: no descriptor or no memory is left for shared memory.
            raise self._end(RunFailed(doing, expected="memory to share", found=str(error))) from None
        except shim.WireError as error:
            raise self._end(self._garbled(str(error))) from None
        if "error" in answer:
            error_text = answer["error"]
            if not isinstance(error_text, dict) or not all(isinstance(t, str) for t in error_text.values()):
                raise self._end(self._garbled("an error that is no object of texts"))
            raise self._failure(defaultdict(str, error_text))
        return answer, outputs

    def _wait(self, receives: bool) -> None:
        """Wait for the connection; raises the error of a process that has ended, or has no time left."""
        left_s = self._deadline - time.monotonic()
        events = (self._receiving if receives else self._sending).poll(max(0.0, left_s) * 1000)
        if not events:
            raise self._end(
                DeadlineExceeded(
                    self._doing,
                    expected=f"an end within {self._deadline_s:g} s",
                    found="none, so its process was ended",
                )
            )
        # What it has sent before it ended is read first.
        if all(descriptor == self._process_descriptor for descriptor, _ in events):
            raise self._end()

    def _end(self, because: LadingError | None = None) -> LadingError:
        """End the process if it has not ended; return the error of the call that was in flight."""
        # One that has closed its connection is most often about to end by itself, with a code of its own.
        if because is None and not _is_readable(self._process_descriptor, _ENDING_S):
            because = self._garbled("that it has closed its connection")
        self.kill(because)
        code = self.wait()
        return self.ended_because or self._ended(how_it_ended(code))

    def _ended(self, how: str) -> ModelProcessEnded:
        hint = "the log has what it printed; another process is started"
        if how.startswith("SIGKILL"):
            hint = "the kernel ends a process so when memory runs out; another process is started"
        return ModelProcessEnded(
            f"the process of `{self.settings.name}`", expected="an answer", found=how, hint=hint
        )

    def _garbled(self, what: str) -> ModelProcessEnded:
        return ModelProcessEnded(
            f"the process of `{self.settings.name}`",
            expected="an answer",
            found=what,
            hint="the model's code wrote to a descriptor that is not its own",
        )

    def _failure(self, error: Mapping[str, str]) -> LadingError:
        """Return the error that the process has answered."""
        name = self.settings.name
        match error["kind"]:
            case "model":
                where = f"{error['where']} of `{name}`"
                return ModelInvalid(where, expected=error["expected"], found=error["found"])
            case "output":
                where = f"{error['where']} of `{name}`"
                return ModelOutputInvalid(
                    where,
                    expected=error["expected"],
                    found=error["found"],
                    hint="correct the model's code or its signature, and pack it again",
                )
            case "memory":
                # What it holds on to would fail the next request, too.
                limit = self.settings.memory_bytes
                self.end_reason = "memory"
                return self._end(
                    ModelProcessEnded(
                        f"the process of `{name}`",
                        expected=f"to fit into {limit / 1e6:,.0f} MB" if limit else "memory",
                        found="no memory left",
                        hint="send fewer rows, or raise its memory limit; another process is started",
                    )
                )
            case "raised":
                self._log_traceback(error["traceback"])
                return ModelCodeFailed(
                    f"the code of `{name}`",
                    expected="an answer",
                    found=error["message"],
                    hint="the server's log has the traceback",
                )
        return self._end(self._garbled("an error of no known kind"))

    def _log_traceback(self, text: str) -> None:
        if not self._tracebacks.take(1):
            self._unlogged += 1
            return
        more = f" (and {self._unlogged} more since the last that is logged)" if self._unlogged else ""
        self._unlogged = 0
        log.warning("%s: its code raised an exception%s\n%s", self.settings.name, more, _indented(text))


def process_environment(settings: ProcessSettings, home: str) -> dict[str, str]:
    """Return the environment variables of a model process: a fixed list, so that it inherits no secret."""
    return {
        "PATH": f"{settings.interpreter.parent}:{os.environ.get('PATH', _PATH)}",
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "ORT_DISABLE_TELEMETRY": "1",
        **{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        **dict.fromkeys(_THREAD_VARIABLES, str(max(1, settings.threads))),
    }


def _is_readable(descriptor: int, within_s: float) -> bool:
    # Not `select`, which refuses descriptors from 1024 on.
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(within_s * 1000))


def _described(tensor: Tensor) -> tuple[str, str, tuple[int | str, ...], tuple[str, ...]]:
    return tensor.name, tensor.dtype, tensor.shape, tensor.columns


def _indented(text: str) -> str:
    return "\n".join(f"    {printable(line)}" for line in text.splitlines())
