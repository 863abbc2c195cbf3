"""The Ray engine: actors of a cluster that score parts, each with a model that has proved itself there.

An actor or a machine that ends in the middle costs the part that it was at, which another scores. A machine
where the golden samples do not hold is refused, and the others go on. Starts no cluster and no machine: as
many actors as are wanted are asked for at once, which is what Ray's autoscaler goes by.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from lading.batch.on_ray.actor import Actor, sent_by_value
from lading.batch.on_ray.cluster import connected
from lading.batch.on_ray.standing import Standing
from lading.batch.plan import Task
from lading.batch.scoring import Done
from lading.batch.shipping import Shipment, bundle_bytes, libraries, shared_mark
from lading.batch.work import Refused, Work
from lading.errors import LadingError, RunFailed, ServerUnavailable, one_line

_PATIENCE_S = 30.0
_CLOSE_S = 5.0

log = logging.getLogger("lading.batch")


def score(work: Work, tasks: Sequence[Task], processes: int) -> Generator[Done | Refused]:
    """Score tasks with up to `processes` actors (0: one for each CPU); iterate over them as they are done.

    Raises `ServerUnavailable` without a cluster at the address of the work, `LadingError` for what would fail
    on any other machine as well, and the error of a refused machine if no other is left.
    """
    if not tasks:
        return
    with connected(work.address), shared_mark(work.parts) as mark, sent_by_value():
        # In the store of the cluster: each machine fetches it at most once.
        tar = ray.put(bundle_bytes(work.bundle, work.digest))
        pool = _Pool(ray.put(Shipment(work, mark, libraries())), tar, processes)
        try:
            yield from pool.run(tasks)
        except RayError as error:
            where, expected = "the Ray cluster", "one that answers until the run has ended"
            hint = "the same command goes on where this one ended"
            raise ServerUnavailable(where, expected=expected, found=one_line(error), hint=hint) from error
        finally:
            pool.close()


@dataclass
class _Member:
    """An actor of the pool: the machine once it is known, and the task that it is at."""

    actor: Any
    node: str = ""
    name: str = ""
    task: Task | None = None


class _Pool:
    def __init__(self, shipment: Any, tar: Any, processes: int) -> None:
        # Within a list: a bare reference would be resolved before the actor can say what is wrong.
        self._references = [shipment, tar]
        self._processes = processes
        self._left: deque[Task] = deque()
        # By what is waited for: each has one answer outstanding.
        self._members: dict[Any, _Member] = {}
        self._closing: list[Any] = []
        self._standing = Standing()
        # Not restarted by Ray: a new process has to prove itself first, and may be on another machine.
        self._class = ray.remote(num_cpus=1, max_restarts=0)(Actor)

    def run(self, tasks: Sequence[Task]) -> Iterator[Done | Refused]:
        """Iterate over tasks as they are done."""
        self._left.extend(tasks)
        while self._left or self._scoring():
            self._grow()
            ready, _ = ray.wait(list(self._members), timeout=_PATIENCE_S)
            for answer in ready:
                yield from self._take(answer)
            if not ready and not any(member.node for member in self._members.values()):
                log.warning("no machine of the Ray cluster has had a free CPU for %.0f s", _PATIENCE_S)
            self._check_left()

    def _scoring(self) -> int:
        return sum(member.task is not None for member in self._members.values())

    def _grow(self) -> None:
        """Ask for as many actors as there is work for."""
        most = self._processes or max(1, int(sum(self._standing.usable(ray.nodes()).values())))
        while len(self._members) < min(most, len(self._left) + self._scoring()):
            # Ray chooses the machine, so that its autoscaler may bring one; those refused are left out.
            selector = self._standing.selector()
            actor = self._class.options(scheduling_strategy="SPREAD", label_selector=selector).remote()
            self._members[actor.where.remote()] = _Member(actor)

    def _check_left(self) -> None:
        """Raise the last refusal if no machine is left that may score."""
        refusal = self._standing.refusal()
        if refusal is None or any(self._standing.has_proved(each.node) for each in self._members.values()):
            return
        if not self._standing.usable(ray.nodes()):
            raise refusal

    def _take(self, answer: Any) -> Iterator[Done | Refused]:
        """Take the answer of an actor, and have it go on."""
        member = self._members.pop(answer)
        try:
            kind, value = ray.get(answer)
        except RayError as error:
            yield from self._lost(member, error)
            return
        if kind == "placed":
            self._place(member, *value)
        elif kind == "opened":
            self._standing.prove(member.node)
            self._next(member)
        elif kind == "refused":
            yield from self._refuse(member, value)
        elif kind == "failed":
            raise value
        else:
            # It goes on while the driver writes down what it has done.
            self._next(member)
            yield value

    def _place(self, member: _Member, node: str, name: str) -> None:
        self._standing.place()
        if self._standing.is_refused(node):  # Since the actor was asked for.
            ray.kill(member.actor)
            return
        member.node, member.name = node, f"{name} ({node[:8]})"
        self._members[member.actor.open.remote(self._references)] = member

    def _next(self, member: _Member) -> None:
        if not self._left:
            # At once, not at the end of the run: a machine that has no actor may be given back.
            self._closing.append(member.actor.close.remote())
            return
        member.task = self._left.popleft()
        self._standing.begin(member.task.part)
        self._members[member.actor.score.remote(member.task)] = member

    def _refuse(self, member: _Member, reason: object) -> Iterator[Refused]:
        """Let no more actors onto a machine."""
        ray.kill(member.actor)
        if member.task is not None:
            self._left.appendleft(member.task)
            self._standing.take_back(member.task.part)
        error = reason if isinstance(reason, LadingError) else None
        if error is None:
            where, expected = f"machine `{member.name}`", "what scores to load"
            hint = "install lading there with the extra `ray`, in the versions of the other machines"
            error = RunFailed(where, expected=expected, found=str(reason), hint=hint)
        if self._standing.refuse(member.node, member.name, error):
            yield Refused(member.name, error.message)

    def _lost(self, member: _Member, error: RayError) -> Iterator[Refused]:
        """Have others do what an actor that has ended was at."""
        # It may only be out of reach; what it still writes has the same bytes.
        ray.kill(member.actor)
        if member.task is None:
            reason = self._standing.lose_early(member.node, member.name, one_line(error))
            if reason is not None:
                yield from self._refuse(member, reason)
            return
        self._standing.lose(member.task.part, one_line(error))
        log.warning("a process on %s has ended; part %s is scored again", member.name, member.task.part)
        # First of all, so that a part that ends every process is found out soon.
        self._left.appendleft(member.task)

    def close(self) -> None:
        """End all actors."""
        for member in self._members.values():  # Empty, unless the run was given up.
            with contextlib.suppress(RayError):
                ray.kill(member.actor)
        if self._closing:
            # A process of a bundle's own code is ended by its actor, which the end of the job would kill.
            ray.wait(self._closing, num_returns=len(self._closing), timeout=_CLOSE_S)
