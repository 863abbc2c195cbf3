"""The releases of a registry: which version of every model is wanted, and what happened.

Decides neither what is released nor when: a person or the rollout driver does, and a server only follows.
What a change leads to is decided by the pure functions of ``lading.release``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

import msgspec

from lading.clock import iso_time
from lading.errors import StaleRelease, UsageError, VersionNotFound
from lading.ref import Ref
from lading.registry.not_found import not_found
from lading.release import Changes, EventDraft, Plan, Release, begin, changed
from lading.release.undo import rollback_target, rollbacks

if TYPE_CHECKING:
    from lading.registry.admission import Admission
    from lading.registry.catalog import Catalog, Decide, Writes
    from lading.registry.records import EventPage, ModelVersion
    from lading.registry.release_check import ReleaseCheck
    from lading.release import Event
    from lading.release.seals import Keyring


class Releases:
    """The releases in a catalog; called with a model's name, it returns those of the model."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Callable[[], float],
        check: ReleaseCheck,
        admission: Admission | None = None,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self.check = check
        self._admission = admission

    @property
    def keyring(self) -> Keyring | None:
        """The keys that seal the history here, if there are any."""
        return self._catalog.releases.keyring

    def __call__(self, name: str) -> list[Release]:
        """Return the releases of a model, newest first. Raises `ModelNotFound`."""
        releases = self._catalog.releases.of(name)
        if not releases and not self._catalog.versions.of(name):
            raise not_found(self._catalog, Ref(name))
        return releases

    def begin(  # noqa: PLR0913 - one keyword per fact that its author states
        self,
        name: str,
        version: int,
        plan: Plan | None = None,
        *,
        actor: str,
        runtime: str | None = None,
        reason: str = "",
        after: int | None = None,
        force: bool = False,
    ) -> Release:
        """Begin a release of a version: live immediately without a plan. An open release is superseded.

        `runtime` is the id of the fingerprint that the version was verified on; without it, it is that of the
        newest evidence. `after` is the number of the release that the caller knows as the last one, 0 for
        none. Raises `StaleRelease` if it is no longer; `VerificationError` without evidence that the version
        holds; `SignatureChanged` if callers of the live version may notice it, unless `force`;
        `VersionNotFound`; and `UsageError` for a candidate without a live version or with itself as the live
        version.
        """
        plan = plan or Plan(mode="live")
        known = self._catalog.versions.find(Ref(name, version=version))
        while True:
            current = self.current(name)
            if after is not None and after != (current.number if current is not None else 0):
                raise _replaced(name, after, current)
            # What is wrong with the plan is said first; without the version, writing it says so.
            begin(current, name, version, plan, actor=actor, at="", runtime=None)
            evidence: dict[str, object] = {}
            if known is not None:
                if self._admission is not None:
                    self._admission.check("release", known)
                proof = self.check.proof(known)
                runtime = runtime or (proof.fingerprint.id if proof is not None else None)
                evidence = self._compared(known, current, force=force)
            draft = EventDraft(
                kind="released",
                actor=actor,
                reason=reason,
                to=str(version),
                version=version,
                evidence=evidence,
            )
            try:
                return self._begin(name, plan, draft, runtime, over=current)
            except _Overtaken:
                # Somebody else released between the two: begin again with what is current now.
                continue

    def rollback(
        self,
        name: str,
        *,
        release: int | None = None,
        to: int | None = None,
        actor: str,
        runtime: str | None = None,
        reason: str = "",
    ) -> Release:
        """Undo a release that went live: what was live before it, or `to`, is released and live immediately.

        `release` is the number of the release that is meant; without it, it is the last one. Raises
        `StaleRelease` if another one came after it, and `UsageError` while a candidate is on its way (see
        `abort`), or if the last release did not go live or is a rollback itself; `to` goes back all the same.
        Without `runtime`, the release names the runtime that the version was last released with.
        """
        history = self(name)
        now = history[0] if history else None
        if to is None:
            target = rollback_target(name, history, rollbacks(self.events(name)), number=release)
        else:
            target = to
            check_number(name, now, release)
        # What has served before needs no new proof; what was proved then still holds.
        if not any(target in (earlier.live, earlier.replaces) for earlier in history):
            known = self._catalog.versions.find(Ref(name, version=target))
            proof = self.check.proof(known) if known is not None else None
            runtime = runtime or (proof.fingerprint.id if proof is not None else None)
        proved = next((earlier.runtime for earlier in history if earlier.released == target), None)
        draft = EventDraft(
            kind="rolled_back",
            actor=actor,
            reason=reason,
            to=str(target),
            version=target,
            evidence=self._objection(name, target),
        )
        try:
            return self._begin(name, Plan(mode="live"), draft, runtime or proved, over=now)
        except _Overtaken as overtaken:
            raise _replaced(name, now.number if now is not None else 0, overtaken.by) from None

    def abort(self, name: str, *, release: int | None = None, actor: str, reason: str = "") -> Release:
        """Take the candidate out of traffic; what is live stays live.

        `release` is the number of the release that is meant. Raises `StaleRelease` if another one is current,
        and `UsageError` if it has ended: then it is undone by `rollback`.
        """
        at = self._now()

        def decide(current: Release | None) -> Writes:
            if current is None:
                hint = f"`lading release {name}:1` releases version 1"
                raise VersionNotFound(
                    f"releases of `{name}`", expected="at least one", found="none", hint=hint
                )
            check_number(name, current, release)
            # Whatever its step is by now: what is meant is the candidate.
            if not current.is_open:
                raise _not_open(current)
            event = EventDraft(
                kind="rolled_back",
                actor=actor,
                reason=reason,
                from_=_number_text(current.candidate),
                to=_number_text(current.live),
                version=current.candidate,
            )
            return [(changed(current, {"state": "rolled_back", "reason": reason}, at), event)]

        return self._write(name, (), decide, at)

    def change(self, release: Release, *, event: EventDraft, **changes: Unpack[Changes]) -> Release:
        """Change a release, with its event, if it is still as `release` says; else raise `StaleRelease`.

        A step brings its weight; a state brings what follows from it (see `lading.release.changed`).
        """
        at = self._now()

        def decide(current: Release | None) -> Writes:
            # Compare and set: the epoch grows with every change.
            if current is None or (current.number, current.epoch) != (release.number, release.epoch):
                raise _stale(release, current)
            done = changed(current, changes, at)
            version = event.version or current.candidate or done.live
            # The history alone has to show what is live.
            to = _number_text(done.live) if done.live != current.live and not event.to else event.to
            return [(done, msgspec.structs.replace(event, version=version, to=to))]

        named = (
            changes.get("live"),
            changes.get("candidate"),
            event.version,
            release.candidate,
            release.live,
        )
        return self._write(release.name, named, decide, at)

    def note(self, release: Release, event: EventDraft) -> Event:
        """Add an event that changes no release, such as ``ready``, to the history."""
        added = self._catalog.releases.append_event(release, event, self._now())
        if added is None:
            version = event.version or release.candidate or release.live
            raise not_found(self._catalog, Ref(release.name, version=version))
        return added

    def current(self, name: str) -> Release | None:
        """Return the current release of a model, or None if it never had one."""
        releases = self._catalog.releases.current(name)
        return releases[0] if releases else None

    def wanted(self) -> list[Release]:
        """Return the current release of every model that has one, by name."""
        return self._catalog.releases.current(None)

    def last_events(self, name: str, limit: int) -> list[Event]:
        """Return at most `limit` events of a model, newest first."""
        return self._catalog.releases.last_events(name, limit)

    def event_page(
        self,
        name: str | None = None,
        *,
        kind: str = "",
        actor: str = "",
        below: int | None = None,
        limit: int,
    ) -> EventPage:
        """Return at most `limit` events of a model or of all, newest first, of a kind and an actor if named.

        The page's ``older`` is `below` of the next one. A page of a kind or an actor may have fewer events
        and still older ones: it looks only so far.
        """
        return self._catalog.releases.event_page(name, kind=kind, actor=actor, below=below, limit=limit)

    def events(self, name: str | None = None) -> list[Event]:
        """Return the events of a model, or of all, as they happened; `verify_chain` checks them."""
        return self._catalog.releases.events(name)

    def _objection(self, name: str, target: int) -> dict[str, object]:
        """Return what the history keeps of a policy that would not let a rollback's version in.

        Nothing holds up a rollback: servers that have the version loaded go on with it, and those with the
        policy that would have to load it refuse it.
        """
        known = self._catalog.versions.find(Ref(name, version=target))
        if self._admission is None or known is None:
            return {}
        objection = self._admission.objection("load", known)
        return {"trust": objection} if objection else {}

    def _compared(self, version: ModelVersion, current: Release | None, *, force: bool) -> dict[str, object]:
        """Return what the history keeps of the differences to the live version that callers may notice."""
        live = current.live if current is not None else None
        other = self._catalog.versions.find(Ref(version.name, version=live)) if live is not None else None
        if other is None:
            return {}
        differences = self.check.compare(version, other, force=force)
        forced = [str(difference) for difference in differences if difference.breaks]
        return {"forced": forced} if forced else {}

    def _begin(
        self, name: str, plan: Plan, draft: EventDraft, runtime: str | None, *, over: Release | None
    ) -> Release:
        """Write the release of `draft.version`, after the end of one that is still open.

        Raises `_Overtaken` if the current release is no longer `over`, by which the caller has decided.
        """
        at, version = self._now(), draft.version
        assert version is not None
        # From here on, and not before: a plan that is given again is the same plan.
        salted = msgspec.structs.replace(plan, salt=plan.salt or secrets.token_hex(8))

        def decide(current: Release | None) -> Writes:
            if _wish(current) != _wish(over):
                raise _Overtaken(current)
            new = begin(current, name, version, salted, actor=draft.actor, at=at, runtime=runtime)
            new = msgspec.structs.replace(new, reason=draft.reason)
            live = _number_text(current.live if current is not None else None)
            # The plan is part of the history, also after the release has ended.
            evidence = {"mode": plan.mode, "steps": list(plan.steps), "gates": plan.gates, **draft.evidence}
            first = (new, msgspec.structs.replace(draft, from_=live, evidence=evidence))
            if current is None or not current.is_open:
                return [first]
            # Both in one transaction: there is never a moment with two open releases.
            return [(changed(current, {"state": "superseded"}, at), _superseded(current, new)), first]

        return self._write(name, (version,), decide, at)

    def _write(self, name: str, versions: Sequence[int | None], decide: Decide, at: str) -> Release:
        """Write what `decide` returns; `versions` are those that it names and that may not exist."""
        written = self._catalog.releases.write(name, decide, at)
        if written is None:
            present = {version.version for version in self._catalog.versions.of(name)}
            missing = next((version for version in versions if version not in {None, *present}), None)
            raise not_found(self._catalog, Ref(name, version=missing))
        return written

    def _now(self) -> str:
        return iso_time(self._clock(), "milliseconds")


class _Overtaken(Exception):
    """Another release came first: the caller begins again, or says so."""

    def __init__(self, by: Release | None) -> None:
        super().__init__()
        self.by = by


def _wish(release: Release | None) -> tuple[int, int | None] | None:
    """Return what a decision about the next release depends on; a step of a candidate changes none of it."""
    return None if release is None else (release.number, release.live)


def _superseded(old: Release, new: Release) -> EventDraft:
    return EventDraft(
        kind="superseded",
        actor=new.actor,
        reason=f"release {new.number} took its place",
        from_=_number_text(old.candidate),
        to=_number_text(new.candidate or new.live),
        version=old.candidate,
    )


def _number_text(version: int | None) -> str:
    """Return a version as events have it; empty for none."""
    return "" if version is None else str(version)


def _stale(release: Release, current: Release | None) -> StaleRelease:
    actual = "no release"
    if current is not None:
        actual = f"release {current.number}, change {current.epoch}, by `{current.actor}`"
    return StaleRelease(
        f"release {release.number} of `{release.name}`",
        expected=f"change {release.epoch} of it to be the last",
        found=actual,
        hint="look at it again: `lading rollout status " + release.name + "`",
    )


def check_number(name: str, current: Release | None, number: int | None) -> None:
    """Raise `StaleRelease` if a person means release `number`, and it is not the current one."""
    if number is not None and number != (current.number if current is not None else 0):
        raise _replaced(name, number, current)


def _replaced(name: str, number: int, current: Release | None) -> StaleRelease:
    """Return the error that release `number` (0: none) is not the last one."""
    actual = "no release"
    if current is not None:
        candidate = current.candidate
        what = f"`{name}:{current.live}` live" if candidate is None else f"`{name}:{candidate}` on its way"
        actual = f"release {current.number}, {what}, by `{current.actor}`"
    return StaleRelease(
        f"release {number} of `{name}`" if number else f"releases of `{name}`",
        expected="it to be the last" if number else "none yet",
        found=actual,
        hint=f"look at it again: `lading rollout status {name}`",
    )


def _not_open(release: Release) -> UsageError:
    hint = f"`lading rollout status {release.name}` shows where it stands"
    if release.state == "live":
        hint = f"`lading rollback {release.name} --release {release.number}` undoes it"
    return UsageError(
        f"release {release.number} of `{release.name}`",
        expected="a candidate on its way",
        found=f"state `{release.state}`",
        hint=hint,
    )
