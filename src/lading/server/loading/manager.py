"""Converges the loaded versions on the wanted ones, one step at a time.

`decide` is a pure function of a snapshot (TensorFlow Serving's aspired versions); `Manager` carries its
steps out in a thread. Knows no protocol and no registry: what to open comes in as a function.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from lading.bundle import Bundle
from lading.clock import back_off_s
from lading.errors import LadingError, RunFailed, UnavailableError
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.loading.loader import prepare

log = logging.getLogger("lading.server")

_LOOK_AGAIN_S = 0.2
"""How long one step waits for requests in hand: whoever wants the version back meanwhile waits no longer."""
_REST_S = 1.0
"""How long the manager rests after a step that failed in a way that nobody foresaw."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version that should be ready: what it is, and how its bundle is opened (and checked)."""

    name: str
    version: int
    digest: str
    open: Callable[[], Bundle]
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int, str]:
        """What tells one wanted version from another."""
        return (self.name, self.version, self.digest)


@dataclass(frozen=True, slots=True)
class Load:
    """Load this wanted version."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Unload:
    """Drain this version and give its memory back."""

    served: ServedVersion


Step = Load | Unload


def decide(
    wanted: Sequence[Wanted], present: Sequence[ServedVersion], *, replace: bool = False
) -> Step | None:
    """Choose the next step, at most one, from what is wanted and what is there.

    Loading goes before unloading, so that a version is never taken away before what follows it is ready;
    one that follows nothing wanted of its model goes at once. A failed version is neither retried nor
    taken for ready: where nothing else of its model is ready, the old one stays. One that drains is on its
    way out, whoever wants it back: that one is loaded anew.

    With `replace` the old one goes first, which needs memory for one only and leaves a gap between them.
    """
    leaving = [one for one in present if one.state is State.DRAINING]
    held = _held(present)
    keys = {one.key for one in wanted}
    for one in wanted:
        if one.key not in held:
            unwanted = (served for key, served in held.items() if key not in keys)
            former = [served for served in (*leaving, *unwanted) if served.name == one.name]
            return Unload(former[0]) if replace and former else Load(one)
    for key, served in held.items():
        if key in keys:
            continue
        successors = {held[one.key].state for one in wanted if one.name == served.name}
        settled = successors <= {State.READY, State.FAILED}
        if served.state is State.FAILED or not successors or (settled and State.READY in successors):
            return Unload(served)
    # The one with the least in hand: none waits for another that does not come to an end.
    return Unload(min(leaving, key=lambda one: one.in_flight)) if leaving else None


def _held(present: Sequence[ServedVersion]) -> dict[tuple[str, int, str], ServedVersion]:
    """Return those that are here to stay, or have failed, by what tells them apart."""
    return {one.key: one for one in present if one.state <= State.READY or one.state is State.FAILED}


class Manager:
    """Carries out the steps of `decide` in a thread, and publishes what is there to the data plane.

    `weights_in` is the folder by which workers share weights; a version is loaded within `opening`.

    ``settled`` is set once there was nothing left to do: every wanted version is ready or has failed.

    Whoever changes what is present, the state of a version or what is published holds ``_changed``; loading
    and unloading, which take long, are done without it.
    """

    def __init__(
        self,
        plane: DataPlane,
        *,
        threads: int = 0,
        drain_timeout_s: float = 30.0,
        replace: bool = False,
        weights_in: Path | None = None,
        opening: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._plane = plane
        self._opening = opening
        self._weights_in = weights_in
        self._replace = replace
        self._threads = threads
        self._drain_timeout_s = drain_timeout_s
        self._wanted: tuple[Wanted, ...] = ()
        self._traffic: Mapping[str, Traffic] = {}
        self._present: list[ServedVersion] = []
        self._tries: Counter[tuple[str, int, str]] = Counter()
        self._late_at: dict[ServedVersion, float] = {}
        self._changed = threading.Condition(threading.RLock())
        self.settled = threading.Event()
        self._stopping: str | None = None
        self._failing = ""
        self._thread = threading.Thread(target=self._work, name="manager", daemon=True)

    def want(self, wanted: Sequence[Wanted], traffic: Mapping[str, Traffic] | None = None) -> None:
        """State what should be ready from now on, and how releases share its traffic; returns at once."""
        with self._changed:
            self._wanted = tuple(wanted)
            self._traffic = traffic or {}
            self._publish()
            self._changed.notify_all()

    def start(self) -> None:
        """Begin converging."""
        self._thread.start()

    def drain(self, reason: str) -> None:
        """Mark every version as draining: it answers what comes, and says that it is not ready."""
        with self._changed:
            self._stopping = reason
            for served in self._present:
                if served.state is State.READY:
                    served.advance(State.DRAINING, reason)
            self._changed.notify_all()

    def close(self) -> None:
        """Drain if nobody has yet, end the thread, and unload every version that has no request in flight."""
        if self._stopping is None:
            self.drain("the server is stopping")
        if self._thread.is_alive():
            self._thread.join(self._drain_timeout_s)
        with self._changed:
            present = tuple(self._present)
        for served in present:
            if served.state is State.DRAINING and not served.unload(self._drain_timeout_s):
                log.warning("%s still has requests in hand after %g s", served.label, self._drain_timeout_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                stopping = self._stopping is not None
                step = None if stopping else decide(self._wanted, self._present, replace=self._replace)
                if step is None:
                    self.settled.set()
                    if stopping:
                        return
                    self._changed.wait()
                    continue
            try:
                self._carry_out(step)
                self._failing = ""
            except Exception as error:
                # The edge of a thread: without it no version would ever be loaded or unloaded again.
                failure = f"{type(error).__name__}: {error}"
                if failure != self._failing:
                    self._failing = failure
                    log.exception("a step of the manager failed; it is tried again")
                self._rest()

    def _carry_out(self, step: Step) -> None:
        match step:
            case Load(wanted):
                self._load(wanted)
            case Unload(served):
                self._unload(served)

    def _rest(self) -> None:
        with self._changed:
            if self._stopping is None:
                self._changed.wait(_REST_S)

    def _load(self, wanted: Wanted) -> None:
        served = _loading(wanted)
        began = time.monotonic()
        try:
            with self._changed:
                self._present.append(served)
                self._publish()
            with self._opening():
                rows = prepare(served, wanted.open(), self._threads, self._weights_in)
        except UnavailableError as error:
            self._try_again(served, error)
            return
        except LadingError as error:
            self._fail(served, error)
            log.error("%s refused: %s", served.label, error)  # noqa: TRY400 - the sentence says it all
            return
        except Exception as error:
            # Whatever goes wrong here must show as a failed version, not as a server that waits forever.
            log.exception("%s failed to load", served.label)
            self._fail(
                served, RunFailed(f"loading `{served.label}`", found=f"{type(error).__name__}: {error}")
            )
            return
        self._take_in(served)
        took = time.monotonic() - began
        log.info("%s is %s: %d golden rows agree, %.2f s", served.label, served.state.word, rows, took)

    def _take_in(self, served: ServedVersion) -> None:
        """Let requests find what was loaded; a server that is stopping never says that it is ready again."""
        with self._changed:
            if self._stopping is None:
                served.advance(State.READY)
            else:
                served.advance(State.DRAINING, self._stopping)
            self._publish()
            self._tries.pop(served.key, None)

    def _fail(self, served: ServedVersion, error: LadingError) -> None:
        with self._changed:
            served.fail(error)

    def _try_again(self, served: ServedVersion, error: LadingError) -> None:
        """Give up for now, and have `decide` load it anew after a while that doubles up to half a minute."""
        self._fail(served, error)
        self._tries[served.key] += 1
        wait_s = back_off_s(self._tries[served.key], first_s=0.5, most_s=30.0)
        log.warning("%s cannot be loaded now, next try in %g s: %s", served.label, wait_s, error.message)
        timer = threading.Timer(wait_s, self._forget, (served,))
        timer.daemon = True
        timer.start()

    def _forget(self, served: ServedVersion) -> None:
        with self._changed:
            if served in self._present:
                self._present.remove(served)
            self._publish()
            self._changed.notify_all()

    def _unload(self, served: ServedVersion) -> None:
        with self._changed:
            if self._stopping is not None:
                return  # Whatever is loaded answers until the end; `close` unloads it.
            if served.state is State.READY:
                served.advance(State.DRAINING, "another version took over")
                self._late_at[served] = time.monotonic() + self._drain_timeout_s
        if served.state is State.DRAINING and not served.unload(_LOOK_AGAIN_S):
            if time.monotonic() > self._late_at.get(served, float("inf")):
                del self._late_at[served]
                log.warning("%s still has requests in hand; it stays until they end", served.label)
            return
        with self._changed:
            self._late_at.pop(served, None)
            if served in self._present:
                self._present.remove(served)
            self._publish()
        log.info("%s is unloaded", served.label)

    def _publish(self) -> None:
        """Have requests find what is present, but for one that drains while another of its kind is ready.

        What is wanted and has not begun to load is there as well: it is not unknown, and nobody is ready yet.
        """
        with self._changed:
            ready = {one.key for one in self._present if one.state is State.READY}
            left = [one for one in self._present if not (one.state is State.DRAINING and one.key in ready)]
            held = _held(self._present)
            awaited = {one.key: _loading(one) for one in self._wanted if one.key not in held}
            self._plane.publish([*left, *awaited.values()], self._traffic)


def _loading(wanted: Wanted) -> ServedVersion:
    return ServedVersion(wanted.name, wanted.version, wanted.digest, tags=wanted.tags)
