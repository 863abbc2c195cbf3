"""Runs a model in a process that can be ended, before this one opens it, unless that was done here before.

A model that crashes ONNX Runtime, or never ends, then fails as a version and takes no server with it. That it
ran is stored on this machine, and costs the next load a look at one file. A crash is evidence in the
registry, so that other servers with the same software do not even try.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lading.blobs.locks import file_lock
from lading.bundle import Bundle
from lading.clock import iso_time
from lading.errors import LadingError, ModelCrashed, ModelNotReady, UnavailableError
from lading.evidence import Evidence
from lading.runtime.host.cpus import cpu_features
from lading.runtime.host.fingerprint import fingerprint
from lading.runtime.python.host import DEFAULT_HOST, PythonHost
from lading.server.loading.policy import EvidenceBook
from lading.verify.isolation import Child, Outcome, is_crash

log = logging.getLogger("lading.server")


class Prover:
    """Proves bundles for one server process; `folder` keeps what was proved, for all servers of this user.

    A model that has not ended after `timeout_s` is given up. `python` says what of its own a bundle may run.
    """

    def __init__(
        self, folder: Path, *, timeout_s: float, threads: int, python: PythonHost = DEFAULT_HOST
    ) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        self._threads = threads
        self._python = python
        self._here = ""
        self._proved: set[str] = set()  # for a folder that cannot be written
        self._child: Child | None = None
        self._cancelled = False
        self._changing = threading.Lock()

    def is_proved(self, bundle: Bundle) -> bool:
        """Return whether this bundle has run here before, with this software, CPU and number of threads."""
        key = self._key(bundle)
        if key in self._proved:
            return True
        # What cannot be read counts as not proved: then it runs once more.
        with contextlib.suppress(OSError):
            return (self._folder / key).is_file()
        return False

    def prove(
        self, bundle: Bundle, before: Callable[[], None], *, label: str, book: EvidenceBook | None
    ) -> None:
        """Run the model of `bundle` in a process of its own, unless it is proved; calls `before` first.

        Of several servers that want the same one runs it, and the others wait. Raises `ModelCrashed`,
        `ModelEndless`, what the load or the replay raises, and `UnavailableError` if there is no process or
        it was killed.
        """
        if self.is_proved(bundle):
            return
        with self._alone(bundle):
            if self.is_proved(bundle):
                return
            _check_known(bundle, label, book)
            before()
            outcome = self._run(bundle, label)
            if outcome.is_crash:
                _record(bundle, outcome, book)
            if outcome.killed and outcome.fault is not None:
                # As good a model may be killed another time: it is loaded again after a pause.
                raise UnavailableError(**vars(outcome.fault))
            outcome.raise_error()
            self._keep(bundle)

    def cancel(self) -> None:
        """Prove nothing more, and end the process that runs: the server is stopping."""
        with self._changing:
            self._cancelled = True
            if self._child is not None:
                self._child.kill()

    def _run(self, bundle: Bundle, label: str) -> Outcome:
        with self._changing:
            if self._cancelled:
                raise _stopping(label)
            try:
                # With its steps, if it has some: only they make the rows of an ONNX model between them.
                child = Child(
                    "rehearse",
                    bundle,
                    threads=self._threads,
                    timeout_s=self._timeout_s,
                    python=self._python,
                )
            except OSError as error:
                where = f"a process to load `{label}` in"
                raise UnavailableError(where, expected="one more", found=str(error)) from None
            self._child = child
        outcome = child.outcome()
        self._child = None
        if self._cancelled:
            raise _stopping(label)
        return outcome

    def _key(self, bundle: Bundle) -> str:
        """Return what a proof depends on as the name of a file."""
        if not self._here:
            parts = (fingerprint().id, cpu_features(), str(self._threads))
            self._here = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
        return f"{bundle.digest.removeprefix('sha256:')}-{self._here}"

    def _keep(self, bundle: Bundle) -> None:
        """Store that the bundle is proved."""
        key = self._key(bundle)
        self._proved.add(key)
        with contextlib.suppress(OSError):  # The next start runs it once more.
            unfinished = self._folder / f"{key}.{secrets.token_hex(4)}"
            unfinished.write_text(f"{bundle.manifest.name}\n{iso_time(time.time(), utc='+00:00')}\n")
            unfinished.replace(self._folder / key)

    @contextmanager
    def _alone(self, bundle: Bundle) -> Iterator[None]:
        """Keep other processes from proving the same bundle meanwhile, where the folder allows locks."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = contextlib.ExitStack()
            lock.enter_context(file_lock(self._folder / f"{self._key(bundle)}.lock"))
        except OSError:
            yield
            return
        with lock:
            yield


def _check_known(bundle: Bundle, label: str, book: EvidenceBook | None) -> None:
    """Raise `ModelCrashed` if the last evidence on the same software is a crash."""
    if book is None:
        return
    try:
        known = book.evidence(bundle.digest)
    except LadingError as error:
        # A registry that cannot be asked is no evidence against the bundle.
        log.warning("the evidence about %s cannot be looked up: %s", label, error.message)
        return
    here = fingerprint()
    for evidence in known:
        crash = next((check for check in evidence.checks if is_crash(check)), None)
        if crash is not None and evidence.fingerprint.id == here.id:
            raise ModelCrashed(
                f"`{label}`",
                expected=crash.expected,
                found=f"{crash.found}, on {evidence.measured_at}",
                hint=f"`lading verify {label}` tries again, and replaces this evidence",
            )


def _record(bundle: Bundle, outcome: Outcome, book: EvidenceBook | None) -> None:
    if book is None or outcome.check is None:
        return
    evidence = Evidence(
        bundle=bundle.digest,
        name=bundle.manifest.name,
        fingerprint=fingerprint(),
        checks=(outcome.check,),
        numbers={},
        measured_at=iso_time(time.time(), utc="+00:00"),
    )
    try:
        book.record(evidence)
    except LadingError as error:
        # A registry that can only be read serves all the same; every server finds out for itself.
        log.warning("the crash of %s is not recorded: %s", bundle.manifest.name, error.message)


def _stopping(label: str) -> ModelNotReady:
    return ModelNotReady(f"model `{label}`", expected="`ready`", found="that the server is stopping")
