"""Requests that live and candidate both answer: run once more in a thread, and compared row by row.

In shadow that is every request that live answers, in a canary or A/B test a few of both sides. The caller's
answer never waits: copies are queued, run at low priority, and dropped (and counted as dropped) when the
queue is full.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from lading.errors import LadingError, ModelNotReady
from lading.runtime.host.priority import step_behind
from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.observe.windows import Windows
from lading.signature import Array, Signature, Tensor

log = logging.getLogger("lading.server")

_MAX_QUEUED = 64
_NICENESS = 10
PAIR_EVERY_S = 0.1
"""At most so often, on average, a process lets both sides of a canary answer: evidence for the row-by-row
comparison then comes as fast as that for errors, at 1 % of a core for a small model."""
_REST = 20
"""A pair is followed by this many times its run: a large model costs 5 % of a core at most."""


class _Copy(NamedTuple):
    traffic: Traffic
    job: Job
    live: ServedVersion
    candidate: ServedVersion


class Shadows:
    """Runs copies of answered jobs on the other side of a release, and counts how often both agree."""

    def __init__(self, windows: Windows, copies: queue.Queue[_Copy | None] | None = None) -> None:
        self._windows = windows
        self._queue: queue.Queue[_Copy | None] = queue.Queue(_MAX_QUEUED) if copies is None else copies
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._next_pair: dict[str, float] = {}  # by model, on the clock of `perf_counter`
        self._unequal: set[str] = set()

    def copy(self, traffic: Traffic, job: Job, candidate: ServedVersion) -> None:
        """Queue a copy of a job that live answered, for `candidate` in shadow; a full queue drops it."""
        if candidate.state is not State.READY:
            return
        counts = self._windows.counts(traffic.release, candidate, job.group)
        if not can_answer(job.inputs, job.served.signature, candidate.signature):
            counts.shadows.append("failed")
            return
        if not self._put(_Copy(traffic, job, job.served, candidate)):
            counts.shadows.append("dropped")

    def is_pair_due(self, name: str) -> bool:
        """Return whether it is time that both sides of a model's release answer one request."""
        return time.perf_counter() >= self._next_pair.get(name, 0.0)

    def pair(self, traffic: Traffic, job: Job, live: ServedVersion, candidate: ServedVersion) -> None:
        """Queue a copy of a job that one side has answered for the other side; to be called when one is due.

        Sides that do not take the same inputs are not compared: nothing is counted.
        """
        if job.served not in (live, candidate):
            return
        other = candidate if job.served is live else live
        # At a random moment: callers that come in a rhythm are not always the same ones.
        wait_s = PAIR_EVERY_S * random.uniform(0.5, 1.5)  # noqa: S311 - a sample, no secret
        self._next_pair[traffic.name] = time.perf_counter() + wait_s
        if other.state is State.READY and can_answer(job.inputs, job.served.signature, other.signature):
            self._put(_Copy(traffic, job, live, candidate))

    def stop(self) -> None:
        """Stop the thread after the copy that runs now."""
        if self._thread is not None:
            # The thread takes copies as well, so only the queue itself can say when it is empty.
            with suppress(queue.Empty):
                while True:
                    self._queue.get_nowait()
            self._queue.put(None)
            self._thread.join()

    def _put(self, copy: _Copy) -> bool:
        try:
            self._queue.put_nowait(copy)
        except queue.Full:
            return False
        if self._thread is None:
            self._start()
        return True

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        # On Linux each thread has a niceness of its own (setpriority(2), "C library/kernel differences").
        step_behind(threading.get_native_id(), _NICENESS)
        while (copy := self._queue.get()) is not None:
            try:
                self._run(copy)
            except Exception:
                # A model may return anything; the copies of all other models are compared in this thread.
                self._windows.counts(copy.traffic.release, copy.candidate, copy.job.group).shadows.append(
                    "failed"
                )
                if copy.candidate.digest not in self._unequal:
                    self._unequal.add(copy.candidate.digest)
                    log.exception("answers of %s cannot be compared with live's", copy.candidate.label)
            del copy  # Its job and arrays are not kept until the next copy comes.

    def _run(self, copy: _Copy) -> None:
        counts = self._windows.counts(copy.traffic.release, copy.candidate, copy.job.group)
        began = time.perf_counter()
        try:
            if copy.traffic.shadows:
                counts.shadows += self._shadowed(copy)
            else:
                counts.shadows += self._paired(copy)
                now = time.perf_counter()
                rested = now + _REST * (now - began)
                name = copy.traffic.name
                self._next_pair[name] = max(self._next_pair.get(name, 0.0), rested)
        except ModelNotReady:
            return  # Unloaded meanwhile: says nothing about either.

    def _shadowed(self, copy: _Copy) -> list[str]:
        """Run a whole request on the candidate, as callers would; return what to count."""
        job, candidate = copy.job, copy.candidate
        assert job.result is not None
        # The same outputs that live computed: a client may have asked for some of them only.
        asked = _in_both(job.result, candidate)
        counts = self._windows.counts(copy.traffic.release, candidate, copy.job.group)
        began = time.perf_counter()
        try:
            outputs = candidate.run(job.inputs, asked) if asked else {}
        except ModelNotReady:
            raise
        except LadingError as error:
            counts.answers.append((time.perf_counter() - began, None, type(error).__name__))
            return ["failed"]
        counts.answers.append((time.perf_counter() - began, outputs, ""))
        # One row, drawn at random: the rows of a request are not independent, and so a request of a thousand
        # rows says as much as one of a single row, and no more.
        at = random.randrange(max(1, job.rows))  # noqa: S311 - a sample, no secret
        return self._compare(copy, _row(job.served, job.result, at), _row(candidate, outputs, at))

    def _paired(self, copy: _Copy) -> list[str]:
        """Run one row of a request on both sides; return what to count."""
        job, live, candidate = copy.job, copy.live, copy.candidate
        assert job.result is not None
        by_live = job.served is live
        other = candidate if by_live else live
        at, inputs = random.randrange(max(1, job.rows)), job.inputs  # noqa: S311 - a sample, no secret
        if job.served.signature.batched and other.signature.batched:
            # A request of many rows would take as much memory once more.
            inputs, at_other = {name: array[at : at + 1] for name, array in inputs.items()}, 0
        else:
            at_other = at
        answered = _row(job.served, job.result, at)
        # All outputs: what one caller does not ask for, another may.
        others = [tensor.name for tensor in job.served.signature.outputs if tensor.name not in answered]
        runner = job.served
        try:
            if others:
                answered |= _row(runner, runner.run(inputs, others), at_other)
            runner = other
            computed = _row(runner, runner.run(inputs), at_other)
        except ModelNotReady:
            raise
        except LadingError:
            return ["failed"] if runner is candidate else []  # Where live fails, nothing can be compared.
        ours, theirs = (answered, computed) if by_live else (computed, answered)
        # A candidate must have what live's callers ask for; what else it lacks was shown at its release.
        needed = job.result if by_live else {}
        ours = {name: array for name, array in ours.items() if name in theirs or name in needed}
        return self._compare(copy, ours, theirs) if ours else []

    def _compare(self, copy: _Copy, ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> list[str]:
        """Compare a row of live's answer (`ours`) with the candidate's; return what to count."""
        live = self._windows.names_of(copy.live, copy.live)
        candidate = self._windows.names_of(copy.candidate, copy.live)
        same = live.says_the_same(ours, candidate, theirs, copy.traffic.relative_difference)
        values = ["same_values"] if live.has_same_values(ours, theirs) else []
        return ["agreed" if same else "differed", *values]


def can_answer(inputs: Mapping[str, Array], theirs: Signature, ours: Signature) -> bool:
    """Return whether inputs that were checked against `theirs` are inputs of `ours` too."""
    if [_form(tensor) for tensor in theirs.inputs] != [_form(tensor) for tensor in ours.inputs]:
        return False
    # Where both allow the same, the inputs were checked for it; others are looked at.
    return not any(
        (before.allows_nan, before.nan_columns, before.bound)
        != (tensor.allows_nan, tensor.nan_columns, tensor.bound)
        and inputs[tensor.name].dtype.kind == "f"
        and tensor.refused_floats(inputs[tensor.name]) is not None
        for before, tensor in zip(theirs.inputs, ours.inputs, strict=True)
    )


def _form(tensor: Tensor) -> tuple[object, ...]:
    return tensor.name, tensor.dtype, tensor.shape, tensor.columns


def _in_both(names: Iterable[str], version: ServedVersion) -> tuple[str, ...]:
    known = {tensor.name for tensor in version.signature.outputs}
    return tuple(name for name in names if name in known)


def _row(version: ServedVersion, outputs: Mapping[str, Array], at: int) -> dict[str, Array]:
    """Return one row of the outputs of a version; an output without a batch as it is."""
    batched = {tensor.name: tensor.batched for tensor in version.signature.outputs}
    return {name: array[at : at + 1] if batched[name] else array for name, array in outputs.items()}
