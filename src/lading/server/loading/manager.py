"""Converges the loaded versions on the wanted ones, one step of the policy at a time.

Decides nothing (`policy` does), and knows no protocol and no registry: how to open a bundle comes in as a
function.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from lading.bundle import Manifest
from lading.clock import back_off_s
from lading.errors import AttachmentTooLarge, LadingError, RunFailed, TrustError, UnavailableError
from lading.runtime.host.descriptors import is_exhausted
from lading.runtime.python.host import DEFAULT_HOST, PythonHost
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import CANDIDATE_MARK, ServedVersion, State
from lading.server.loading.crashes import Crash, record
from lading.server.loading.loader import prepare
from lading.server.loading.policy import Key, Load, Policy, Step, Unload, Wanted, held_versions, load_first
from lading.server.loading.proving import Prover
from lading.server.loading.trust import LoadGate

log = logging.getLogger("lading.server")

_UNLOAD_WAIT_S = 0.2
"""How long one step waits for requests in flight; a version that is wanted meanwhile waits no longer."""

_REFUSALS = (AttachmentTooLarge, TrustError)
"""What keeps a version out until somebody has stated more, or the policy is another one."""

RETRY_STEP_S = 1.0
"""The pause after a step that failed unexpectedly."""


class Manager:
    """Carries out the steps of `policy` in a thread, and publishes the present versions to the data plane.

    `weights_folder` is where workers share weights; a version is loaded within `opening`, and first by
    `prover` in a process of its own; `python` says how models in Python run, and `gate` what is let in.
    ``settled`` is set once there was nothing left to do: every wanted version is ready or has failed.

    ``_changed`` is held to change the present versions, the state of one, or what is published.
    Loading and unloading take long and are done without it.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each part that it is made of
        self,
        plane: DataPlane,
        *,
        threads: int = 0,
        drain_timeout_s: float = 30.0,
        policy: Policy = load_first,
        weights_folder: Path | None = None,
        opening: Callable[[], AbstractContextManager[object]] = nullcontext,
        prover: Prover | None = None,
        python: PythonHost = DEFAULT_HOST,
        gate: LoadGate | None = None,
    ) -> None:
        self._plane = plane
        self._threads = threads
        self._drain_timeout_s = drain_timeout_s
        self._policy = policy
        self._weights_folder = weights_folder
        self._opening = opening
        self._prover = prover
        self._python = python
        self._gate = gate
        self._crashes: dict[str, Crash] = {}  # by digest
        self._wanted: tuple[Wanted, ...] = ()
        self._traffic: Mapping[str, Traffic] = {}
        self._present: list[ServedVersion] = []
        self._failed_tries: Counter[Key] = Counter()
        self._drain_deadlines: dict[ServedVersion, float] = {}
        # Reentrant, because the methods that publish are called with and without it.
        self._changed = threading.Condition(threading.RLock())
        self.settled = threading.Event()
        self._stop_reason: str | None = None
        self._last_failure = ""
        self._thread = threading.Thread(target=self._work, name="manager", daemon=True)

    def want(self, wanted: Sequence[Wanted], traffic: Mapping[str, Traffic] | None = None) -> None:
        """State which versions should be ready from now on, and how releases split their traffic.

        Returns without waiting for any of them.
        """
        with self._changed:
            self._wanted = tuple(wanted)
            self._traffic = traffic or {}
            self._publish()
            self._changed.notify_all()

    def take_out(self, crash: Crash) -> None:
        """Answer no more with a version that crashes its processes, and load it no more."""
        with self._changed:
            self._crashes[crash.digest] = crash
            for served in self._present:
                # One that is still loading goes when it has loaded.
                if served.digest == crash.digest and served.state in (State.READY, State.DRAINING):
                    _take_out(served, crash)
            self._publish()
            concerned = [wanted for wanted in self._wanted if wanted.digest == crash.digest]
        for wanted in concerned:
            _record(crash, wanted)

    def answering(self) -> list[tuple[Wanted, Manifest]]:
        """List the wanted versions that are ready, each with the manifest of its bundle."""
        with self._changed:
            held = held_versions(self._present)
            ready = [(wanted, held[wanted.key]) for wanted in self._wanted if wanted.key in held]
            return [(wanted, served.manifest) for wanted, served in ready if served.state is State.READY]

    def reconsider(self, deserves: Callable[[Wanted], bool]) -> None:
        """Try versions again that the trust policy has refused, those of which `deserves` says so."""
        with self._changed:
            held = held_versions(self._present)
            refused = [
                (wanted, held[wanted.key])
                for wanted in self._wanted
                if wanted.key in held and isinstance(held[wanted.key].failure, _REFUSALS)
            ]
        # Outside: it may ask the catalog.
        for wanted, served in refused:
            if deserves(wanted):
                self._forget(served)

    def start(self) -> None:
        """Begin to converge."""
        self._thread.start()

    def drain(self, reason: str) -> None:
        """Converge no more, and mark every version as draining: it answers, and says that it is not ready."""
        with self._changed:
            self._stop_reason = reason
            for served in self._present:
                if served.state is State.READY:
                    served.advance(State.DRAINING, reason)
            self._changed.notify_all()
        if self._prover is not None:
            self._prover.cancel()

    def close(self) -> None:
        """Drain if nobody has yet, end the thread, and unload every version that has no request in flight."""
        if self._stop_reason is None:
            self.drain("the server is stopping")
        if self._thread.is_alive():
            self._thread.join(self._drain_timeout_s)
        with self._changed:
            present = tuple(self._present)
        for served in present:
            if served.state is State.DRAINING and not served.unload(self._drain_timeout_s):
                message = "%s still has requests in flight after %g s"
                log.warning(message, served.label, self._drain_timeout_s, extra=served.about)

    def _work(self) -> None:
        while True:
            with self._changed:
                stopping = self._stop_reason is not None
                step = None if stopping else self._policy(self._wanted, self._present)
                if step is None:
                    self.settled.set()
                    if stopping:
                        return
                    self._changed.wait()
                    continue
            try:
                self._carry_out(step)
                self._last_failure = ""
            except Exception as error:
                # The edge of a thread: without this no version would ever be loaded or unloaded again.
                failure = f"{type(error).__name__}: {error}"
                if failure != self._last_failure:
                    self._last_failure = failure
                    log.exception("a step of the manager failed; it is tried again")
                self._pause()

    def _carry_out(self, step: Step) -> None:
        match step:
            case Load(wanted):
                self._load(wanted)
            case Unload(served):
                self._unload(served)

    def _pause(self) -> None:
        with self._changed:
            if self._stop_reason is None:
                self._changed.wait(RETRY_STEP_S)

    # Loading.

    def _load(self, wanted: Wanted) -> None:
        served = self._loading(wanted)
        began = time.monotonic()
        try:
            with self._changed:
                self._present.append(served)
                crash = self._crashes.get(wanted.digest)
                if crash is not None:
                    _take_out(served, crash)
                self._publish()
            if crash is not None:
                # The worker that saw it may have ended before it could store the evidence.
                _record(crash, wanted)
                return
            prove = None
            if self._prover is not None:
                prove = partial(self._prover.prove, label=served.label, book=wanted.book)
            with self._opening():
                bundle = wanted.open()
                if self._gate is not None:
                    # Before anything of it runs.
                    self._gate.check(wanted, bundle)
                rows = prepare(served, bundle, self._threads, self._weights_folder, prove, self._python)
        except UnavailableError as error:
            self._retry_later(served, error)
            return
        except LadingError as error:
            self._fail(served, error)
            log.error("%s refused: %s", served.label, error, extra=served.about)  # noqa: TRY400 - the sentence says it all
            return
        except Exception as error:
            if isinstance(error, OSError) and is_exhausted(error):
                self._retry_later(
                    served, UnavailableError("file descriptors", expected="one more", found="none")
                )
                return
            # Must show as a failed version, not as a server that loads forever.
            log.exception("%s failed to load", served.label, extra=served.about)
            failure = f"{type(error).__name__}: {error}"
            self._fail(served, RunFailed(f"loading `{served.label}`", found=failure))
            return
        self._make_available(served)
        took_s = time.monotonic() - began
        log.info(
            "%s is %s: %d golden rows agree, %.2f s",
            served.label,
            served.state.word,
            rows,
            took_s,
            extra=served.about,
        )

    def _make_available(self, served: ServedVersion) -> None:
        """Let requests find a version that has been loaded."""
        with self._changed:
            crash = self._crashes.get(served.digest)
            if crash is not None:
                _take_out(served, crash)
            elif self._stop_reason is None:
                served.advance(State.READY)
            else:
                # A server that is stopping never becomes ready again, by whatever it was still loading.
                served.advance(State.DRAINING, self._stop_reason)
            self._publish()
            self._failed_tries.pop(served.key, None)

    def _fail(self, served: ServedVersion, error: LadingError) -> None:
        with self._changed:
            served.fail(error)

    def _retry_later(self, served: ServedVersion, error: LadingError) -> None:
        """Fail for now, and let the policy load the version again after a pause."""
        self._fail(served, error)
        if self._stop_reason is not None:
            return
        self._failed_tries[served.key] += 1
        pause_s = back_off_s(self._failed_tries[served.key], first_s=0.5, most_s=30.0)
        log.warning(
            "%s cannot be loaded now, retrying in %g s: %s",
            served.label,
            pause_s,
            error.message,
            extra=served.about,
        )
        timer = threading.Timer(pause_s, self._forget, (served,))
        timer.daemon = True
        timer.start()

    def _forget(self, served: ServedVersion) -> None:
        with self._changed:
            # It may have been unloaded during the pause, because it was not wanted any more.
            if served in self._present:
                self._present.remove(served)
            self._publish()
            self._changed.notify_all()

    # Unloading.

    def _unload(self, served: ServedVersion) -> None:
        with self._changed:
            if self._stop_reason is not None:
                return  # A loaded version answers until the end; `close` unloads it.
            if served.state is State.READY:
                served.advance(State.DRAINING, "another version took over")
                self._drain_deadlines[served] = time.monotonic() + self._drain_timeout_s
        if served.state is State.DRAINING and not served.unload(_UNLOAD_WAIT_S):
            self._warn_if_late(served)
            return
        with self._changed:
            self._drain_deadlines.pop(served, None)
            if served in self._present:
                self._present.remove(served)
            self._publish()
        log.info("%s is unloaded", served.label, extra=served.about)

    def _warn_if_late(self, served: ServedVersion) -> None:
        if time.monotonic() > self._drain_deadlines.get(served, float("inf")):
            del self._drain_deadlines[served]  # Warns once.
            log.warning(
                "%s still has requests in flight; it stays until they end", served.label, extra=served.about
            )

    def _publish(self) -> None:
        """Have requests find every present version but one that drains while the same version is ready again.

        What is wanted and has not begun to load is published as well: it is not unknown, and the server is
        not ready without it.
        """
        with self._changed:
            ready = {served.key for served in self._present if served.state is State.READY}
            visible = [
                served
                for served in self._present
                if not (served.state is State.DRAINING and served.key in ready)
            ]
            held = held_versions(self._present)
            awaited = {wanted.key: self._loading(wanted) for wanted in self._wanted if wanted.key not in held}
            for served in visible:
                traffic = self._traffic.get(served.name)
                is_candidate = traffic is not None and traffic.candidate == served.version
                served.marks[CANDIDATE_MARK] = float(is_candidate)
            self._plane.publish([*visible, *awaited.values()], self._traffic)

    def _loading(self, wanted: Wanted) -> ServedVersion:
        marks = self._plane.marks_of(*wanted.key)
        return ServedVersion(*wanted.key, tags=wanted.tags, marks=marks)


def _take_out(served: ServedVersion, crash: Crash) -> None:
    served.take_out(crash.error())
    log.error("%s is taken out of traffic: %s", served.label, served.reason, extra=served.about)


def _record(crash: Crash, wanted: Wanted) -> None:
    if wanted.book is not None:
        record(crash, wanted.book)
