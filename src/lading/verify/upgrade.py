"""Whether other versions of packages change the answers of a bundle, and which package changes them.

The bundle stays as it is: its lock is part of its digest, and what other versions answer is no evidence for
it. Each trial is a real environment (`trial`); what is tried next is decided in `bisection`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lading.bundle import Bundle
from lading.bundle.environment_lock import EnvironmentLock
from lading.errors import NotSupported, RequirementsRefused, VerificationError
from lading.runtime.python.environments import environments_of_host
from lading.runtime.python.host import PythonHost
from lading.runtime.python.open import check_allowed
from lading.runtime.python.resolver import Resolver, requirement_name
from lading.verify.bisection import Verdict, smallest_set
from lading.verify.changed_locks import Change, changes, mixed, newest, upgraded
from lading.verify.trial import Answers, Trial, try_lock

OnStep = Callable[[str], object]
"""Called with what is done now, in a few words."""


@dataclass(frozen=True)
class Upgrade:
    """A lock with other versions: what moves, what of it was ``stated``, and how the model answers then."""

    lock: EnvironmentLock
    changes: tuple[Change, ...]
    stated: frozenset[str]
    trial: Trial


@dataclass(frozen=True)
class Bisection:
    """Which of the packages that moved changes the answers.

    ``causes`` is a smallest set that does, empty if the answers stay with all; ``alone`` is how the model
    answers with these only, ``rest`` with all others. ``untried`` are sets that could not be tried, each with
    the reason, and ``trials`` is the number of environments that were.
    """

    whole: Upgrade
    causes: tuple[Change, ...] = ()
    alone: Trial | None = None
    rest: Trial | None = None
    untried: tuple[tuple[tuple[Change, ...], str], ...] = ()
    trials: int = 0


def try_upgrade(bundle: Bundle, lines: Sequence[str], host: PythonHost, on_step: OnStep) -> Upgrade:
    """Return how `bundle` answers with the requirements in `lines`, the newest of all its packages if none.

    Every package that is not stated keeps its version if it can. Raises `NotSupported` for a bundle without
    an environment, `CodeNotAllowed`, `RequirementsRefused`, `EnvironmentFailed`, `EnvironmentPythonMissing`.
    """
    _check(bundle, host)
    on_step("resolving versions")
    resolver = Resolver(python=bundle.manifest.python, wheels=host.wheels)
    own = bundle.lock()
    lock = upgraded(own, lines, resolver) if lines else newest(own, resolver)
    moved = changes(own, lock)
    on_step(f"replaying with {_few(moved)}")
    stated = frozenset(requirement_name(line) for line in lines)
    return Upgrade(lock, moved, stated, try_lock(bundle, lock, host))


def bisect(bundle: Bundle, lines: Sequence[str], host: PythonHost, on_step: OnStep) -> Bisection:
    """Return the packages by which `bundle` answers otherwise with `lines` than with its own lock.

    Raises as `try_upgrade`, and `VerificationError` if the bundle does not hold with its own lock, either.
    """
    _check(bundle, host)
    # Without this, a host on which nothing answers as it was packed would blame a package.
    on_step("replaying with its own versions")
    own = try_lock(bundle, bundle.lock(), host)
    if not own.stays:
        raise VerificationError(
            f"`{bundle.manifest.name}` with its own environment",
            expected="the answers that it was packed with",
            found=own.worst,
            hint="it does not hold on this host as it is: see `lading verify` without `--bisect`",
        )
    whole = try_upgrade(bundle, lines, host, on_step)
    # If its own environment does not have the bits here, neither do others, and no package is the cause.
    same = whole.trial.answers == "equal" or (whole.trial.answers == "within" and own.answers == "within")
    if same or whole.trial.answers == "unbuilt":
        return Bisection(whole, trials=2)
    search = _Search(bundle, whole, host, on_step)
    try:
        return search.run()
    finally:
        search.remove_environments()


@dataclass
class _Search:
    """The trials of one bisection."""

    bundle: Bundle
    whole: Upgrade
    host: PythonHost
    on_step: OnStep
    tried: dict[frozenset[str], Trial] = field(default_factory=dict)
    untried: list[tuple[tuple[Change, ...], str]] = field(default_factory=list)
    built: list[EnvironmentLock] = field(default_factory=list)

    def run(self) -> Bisection:
        names = frozenset(change.name for change in self.whole.changes)
        self.tried[names] = self.whole.trial
        causes = smallest_set(names, self.judge)
        rest = names - causes
        # Often it was tried on the way. What it shows is for people: others may have a cause of their own.
        if rest and rest not in self.tried:
            self.judge(rest)
        own_and_whole = 2
        return Bisection(
            self.whole,
            self._changes(causes),
            self.tried[causes],
            self.tried.get(rest),
            tuple(self.untried),
            own_and_whole + len(self.tried) - 1,
        )

    def judge(self, names: frozenset[str]) -> Verdict:
        """Say whether the packages `names` make the difference that all make together."""
        self.on_step(f"replaying with {_few(self._changes(names))}")
        resolver = Resolver(python=self.bundle.manifest.python, wheels=self.host.wheels)
        try:
            lock = mixed(self.bundle.lock(), self.whole.lock, names, resolver)
        except RequirementsRefused as error:
            self._leave_out(names, f"expected {error.expected}, found {error.found}")
            return "unknown"
        trial = self._trial(lock)
        self.tried[names] = trial
        verdict = judged(trial.answers, self.whole.trial.answers)
        if verdict == "unknown":
            self._leave_out(names, trial.reason)
        return verdict

    def _trial(self, lock: EnvironmentLock) -> Trial:
        store = environments_of_host(self.host.environments)
        # One that exists belongs to somebody, such as a server.
        if not store.has(lock, self.bundle.manifest.python):
            self.built.append(lock)
        return try_lock(self.bundle, lock, self.host)

    def remove_environments(self) -> None:
        """Remove the environments that were built for trials only."""
        # What ran there is in circles of references, and keeps its environment from being removed.
        gc.collect()
        store = environments_of_host(self.host.environments)
        for lock in self.built:
            store.remove(lock, self.bundle.manifest.python)

    def _leave_out(self, names: frozenset[str], reason: str) -> None:
        self.untried.append((self._changes(names), reason))

    def _changes(self, names: frozenset[str]) -> tuple[Change, ...]:
        return tuple(change for change in self.whole.changes if change.name in names)


def judged(answers: Answers, whole: Answers) -> Verdict:
    """Return whether `answers` of some packages are the difference that `whole`, those of all, show."""
    if answers == "unbuilt":
        return "unknown"
    if whole == "fails" or answers == "fails":
        # A mixture that does not run says nothing about answers, unless that is what is looked for.
        return ("differs" if answers == "fails" else "same") if whole == "fails" else "unknown"
    # Smaller differences are not the one that is looked for, even if they add to it.
    if whole == "other":
        return "differs" if answers == "other" else "same"
    return "same" if answers == "equal" else "differs"


def _check(bundle: Bundle, host: PythonHost) -> None:
    """Refuse a bundle without an environment, and one that may not run here."""
    manifest = bundle.manifest
    if manifest.runtime != "python":
        raise NotSupported(
            f"bundle `{manifest.name}`",
            expected="an environment of its own, whose packages can be upgraded",
            found="a model that ONNX Runtime runs by itself",
            hint="run `lading verify` where another ONNX Runtime is installed",
        )
    check_allowed(manifest, host.allow)


def _few(moved: Sequence[Change]) -> str:
    """Return the changes for a line of progress."""
    first = ", ".join(map(str, moved[:2])) or "its own versions"
    return first if len(moved) <= 2 else f"{first} and {len(moved) - 2} more"
