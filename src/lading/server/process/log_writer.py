"""The process that writes the prediction log: started, restarted when it ends, and left to finish.

It is another program, ``python -m lading.monitor.log.writer``: the server imports neither it nor Arrow.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from lading.errors import InvalidSetting, missing_extra
from lading.log_frames import WriterSettings
from lading.server.inference.dataplane import DataPlane
from lading.server.observe.log_sender import LogSender
from lading.server.observe.prediction_log import PredictionLog, Privacy, names_in
from lading.server.process.kept_process import KeptProcess, watched
from lading.server.process.worker import WorkerContext
from lading.settings import ServeSettings, home, log_url

log = logging.getLogger("lading.server")

_END_S = 25.0
_SEND_S = 5.0
# Each arena and each thread of a pool keeps what it has freed: for two threads at work that is most of what
# the process would take.
_FRUGAL = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "1000000",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_KEY_FILE = ".hash-key"
_LEAST_KEY_BYTES = 16
_MOST_KEY_BYTES = 64


def writer_settings(settings: ServeSettings, registry: str | None) -> WriterSettings | None:
    """Return what the writer is started with; None if nothing is logged.

    Raises `ExtraMissing` if a library of the log is not installed here, and `InvalidSetting` for a place that
    cannot be used.
    """
    if not settings.log_predictions:
        return None
    url = log_url(settings.log or None, registry)
    for module, extra in (("pyarrow", "monitor"), *([("botocore", "s3")] if "://" in url else [])):
        if importlib.util.find_spec(module) is None:
            raise missing_extra("`log_predictions`", extra, ModuleNotFoundError(name=module))
    # Segments need a disk, which a bucket is not.
    spool = ""
    if url.startswith("s3://"):
        spool = str(home() / "log-spool")
    elif "://" in url:
        raise InvalidSetting("log", expected="a folder or `s3://bucket/prefix`", found=f"`{url}`")
    folder = Path(spool or url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"`{folder}`: {error.strerror}"
        raise InvalidSetting("log", expected="a folder that can be written to", found=problem) from None
    return WriterSettings(
        url=url,
        max_age_days=settings.log_max_age_days,
        max_bytes=settings.log_max_bytes,
        spool=spool,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )


def privacy_of(settings: ServeSettings, writer: WriterSettings) -> Privacy:
    """Return which columns are left out and which are hashed, with the key.

    Raises `InvalidSetting` if a key is needed and there is none that can be read.
    """
    excluded, hashed = names_in(settings.log_exclude), names_in(settings.log_hash)
    return Privacy(excluded, hashed, _hash_key(settings.log_hash_key_file, writer) if hashed else b"")


def _hash_key(file: str, writer: WriterSettings) -> bytes:
    if not file and writer.spool:
        hint = "set `log_hash_key_file`, the same on every server"
        where = "`log_hash` for a log in a bucket"
        raise InvalidSetting(where, expected="a key that all servers have", found="none", hint=hint)
    path = Path(file).expanduser() if file else Path(writer.url) / _KEY_FILE
    try:
        if not file and not path.exists():
            _write_new_key(path)
        key = path.read_bytes().strip()
    except OSError as error:
        problem = f"`{path}`: {error.strerror}"
        raise InvalidSetting("log_hash_key_file", expected="a file that can be read", found=problem) from None
    if len(key) < _LEAST_KEY_BYTES:
        expected = f"at least {_LEAST_KEY_BYTES} bytes in `{path}`"
        raise InvalidSetting("log_hash_key_file", expected=expected, found=f"{len(key)}")
    return key[:_MOST_KEY_BYTES]


def _write_new_key(path: Path) -> None:
    """Write a random key that only its owner may read; one that another server has just written stays."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    temporary.touch(mode=0o600)
    temporary.write_text(secrets.token_hex(32))
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(temporary)  # Not a rename: two servers that start together must use one key.
    temporary.unlink()


class LogWriter:
    """The writer's process, for all workers of a server, which pass it connections over ``inbox``."""

    def __init__(self, settings: WriterSettings, clock: Callable[[], float] = time.monotonic) -> None:
        # Both ends stay open here: what is in it when a writer ends waits for the next.
        self.inbox, self._read_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        end = self._read_end.fileno()
        command = [sys.executable, "-m", "lading.monitor.log.writer", str(end)]
        self._kept = KeptProcess(
            "the writer of the prediction log",
            [*command, msgspec.json.encode(settings).decode()],
            pass_fds=(end,),
            environ={**os.environ, **_FRUGAL},
            clock=clock,
        )

    @property
    def pid(self) -> int:
        """The process, 0 while there is none."""
        return self._kept.pid

    def check(self) -> None:
        """Start the process if none runs and it is time to."""
        self._kept.check()

    def due_in_s(self) -> float:
        """Return in how many seconds `check` has something to do, if no process ends."""
        return self._kept.due_in_s()

    def close(self, timeout_s: float = _END_S) -> None:
        """Let the process write what it has, and wait for its end; call it when all workers have ended."""
        # Its end of the inbox then says that nobody is left, and the writer ends by itself.
        self.inbox.close()
        self._read_end.close()
        if not self._kept.has_ended(timeout_s):
            log.warning(
                "the writer of the prediction log has not ended; what is left is written at the next start"
            )


@contextlib.contextmanager
def logged_predictions(
    settings: ServeSettings,
    registry: str | None,
    worker: WorkerContext | None,
    plane: DataPlane,
    replica: str,
) -> Iterator[PredictionLog | None]:
    """Log predictions of `plane` within; yields None if none are to be logged.

    A process without a supervisor has the writer as well. Raises what `writer_settings` and `privacy_of` do.
    """
    writer = writer_settings(settings, registry)
    if writer is None:
        yield None
        return
    privacy = privacy_of(settings, writer)
    with contextlib.ExitStack() as started:
        if worker is not None and worker.log_inbox is not None:
            inbox = worker.log_inbox
        else:
            kept = LogWriter(writer)
            started.enter_context(watched(kept))
            inbox = kept.inbox
        sender = LogSender(inbox)
        # Ends before the writer does, and after the recorder, which is started later.
        started.callback(sender.close, _SEND_S)
        predictions = PredictionLog(settings.log_predictions, sender, replica=replica, privacy=privacy)
        plane.log_labels = predictions.add_labels
        yield predictions
