"""The releases of a registry: what is wanted of every model, what happened, what runs and how it fares.

Decides neither who is released nor when: a person or the rollout driver does, and a server only follows.
What a change leads to is decided by the pure functions of ``lading.release``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

import msgspec

from lading.clock import iso_time
from lading.errors import LadingError, StaleRelease, UsageError, VersionNotFound
from lading.ref import Ref
from lading.release import Changes, EventDraft, Plan, Release, begin, changed, rollback_target
from lading.settings import store_settings
from lading.traffic import Feedback

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog, Written
    from lading.release import Event
    from lading.replica import Replica
    from lading.traffic import Window

KEPT_RELEASES = 10
"""Versions that a model's last releases name cannot be removed: one can go back to them."""
KEPT_DAYS = 30.0
"""How long windows of ended releases are kept."""


class Releases:
    """What a `Registry` knows of releases and of what runs."""

    def __init__(self, catalog: Catalog, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._clock = clock

    def release(
        self,
        name: str,
        version: int,
        plan: Plan | None = None,
        *,
        actor: str,
        runtime: str | None = None,
        reason: str = "",
    ) -> Release:
        """Begin a release of a version: at once live without a plan. One still on its way is superseded.

        `runtime` is the id of the fingerprint that the version was proved on. Raises `VersionNotFound`, and
        `UsageError` for a candidate beside nothing or beside itself.
        """
        draft = EventDraft(kind="released", actor=actor, reason=reason, to=str(version), version=version)
        return self._begin(name, plan or Plan(mode="live"), draft, runtime)

    def rollback(
        self,
        name: str,
        *,
        to: int | None = None,
        actor: str,
        runtime: str | None = None,
        reason: str = "",
    ) -> Release:
        """Release an old version again, at once: `to`, else what was live before or beside a candidate.

        Without `runtime` it names the one that this version was last released with.
        """
        history = self.releases(name)
        target = to if to is not None else rollback_target(history)
        if target is None:
            raise VersionNotFound(
                f"rollback of `{name}`",
                expected="a version that was live before",
                found="none",
                hint=f"`lading rollback {name} --to N` names one",
            )
        proved = next((one.runtime for one in history if one.released == target), None)
        draft = EventDraft(kind="rolled_back", actor=actor, reason=reason, to=str(target), version=target)
        return self._begin(name, Plan(mode="live"), draft, runtime or proved)

    def change(self, release: Release, *, event: EventDraft, **changes: Unpack[Changes]) -> Release:
        """Change a release, with its event, if it is still as `release` says; else raise `StaleRelease`.

        A step brings its weight; a state brings what follows from it (see `lading.release.changed`).
        """
        at = self._now()

        def decide(current: Release | None) -> Written:
            if current is None or (current.number, current.epoch) != (release.number, release.epoch):
                raise _stale(release, current)
            done = changed(current, changes, at)
            about = event.version or current.candidate or done.live
            return [(done, msgspec.structs.replace(event, version=about))]

        return self._written(release.name, changes.get("candidate") or release.candidate, decide, at)

    def note(self, release: Release, event: EventDraft) -> Event:
        """Add an event to the history that changes no release, such as ``ready``."""
        added = self._catalog.append_event(release, event, self._now())
        if added is None:
            raise self._missing(Ref(release.name, version=event.version or release.candidate or release.live))
        return added

    def current(self, name: str) -> Release | None:
        """Return the current release of a model, if it ever had one."""
        found = self._catalog.current_releases(name)
        return found[0] if found else None

    def wanted(self) -> list[Release]:
        """List the current release of every model that has one, by name."""
        return self._catalog.current_releases(None)

    def releases(self, name: str) -> list[Release]:
        """List the releases of a model, newest first. Raises `ModelNotFound`."""
        found = self._catalog.releases(name)
        if not found and not self._catalog.versions(name):
            raise self._missing(Ref(name))
        return found

    def events(self, name: str | None = None) -> list[Event]:
        """List the events of a model, or of all, as they happened; `verify_chain` tells if they are whole."""
        return self._catalog.events(name)

    def add_windows(self, windows: Sequence[Window]) -> None:
        """Keep windows of live traffic. The same window again, as after an outage, counts once."""
        self._catalog.add_windows(windows)

    def windows(self, name: str, release: int, since: float | None = None) -> list[Window]:
        """List the windows of a release that began at the Unix time `since` or later, oldest first."""
        return self._catalog.windows(name, release, since)

    def add_feedback(self, some: Sequence[Feedback]) -> None:
        """Pass on the truth about answers that other processes gave."""
        self._catalog.add_feedback(some)

    def feedback(self, after: int | None) -> tuple[int, list[Feedback]]:
        """Return the feedback that came after a mark, and the mark for the next time.

        Without a mark there is only the mark: begin with it.
        """
        return self._catalog.feedback(after)

    def lease(self, what: str, holder: str, ttl_s: float) -> bool:
        """Take or renew a lease by the catalog's clock; return whether `holder` holds it now.

        It may run out while its holder sleeps: what is done under it must be safe against another holder,
        as `change` is.
        """
        if not (ttl_s > 0 and math.isfinite(ttl_s)):
            raise UsageError(f"lease `{what}`", expected="a time above 0", found=f"`{ttl_s}`")
        return self._catalog.lease(what, holder, ttl_s)

    def release_lease(self, what: str, holder: str) -> None:
        """Give a lease back, so that another need not wait until it runs out."""
        self._catalog.release_lease(what, holder)

    def lease_holder(self, what: str) -> str | None:
        """Return who holds a lease now; None if nobody does, or it has run out."""
        return self._catalog.lease_holder(what)

    def beat(self, replica: Replica) -> None:
        """Keep what a replica says of itself, and that it lives."""
        self._catalog.beat(replica)

    def replicas(self, *, include_gone_days: float | None = None) -> list[Replica]:
        """List replicas by id, those gone for as many days included; `Replica.gone` tells them apart.

        Without a number of days: for as long as they are kept, which ``LADING_GONE_DAYS`` says.
        """
        from lading.replica import GONE_AFTER_S

        days = store_settings().gone_days if include_gone_days is None else include_gone_days
        return self._catalog.replicas(max(GONE_AFTER_S, days * 86400))

    def forget(self, replica_id: str) -> bool:
        """Take a replica off the list; return whether it was there. One that beats again comes back."""
        return self._catalog.forget(replica_id)

    def _begin(self, name: str, plan: Plan, draft: EventDraft, runtime: str | None) -> Release:
        """Write the release of `draft.version`, after the end of one that is still on its way."""
        at, version = self._now(), draft.version
        assert version is not None

        def decide(current: Release | None) -> Written:
            new = begin(current, name, version, plan, actor=draft.actor, at=at, runtime=runtime)
            new = msgspec.structs.replace(new, reason=draft.reason)
            live = "" if current is None or current.live is None else str(current.live)
            evidence = {"mode": plan.mode, "steps": list(plan.steps), "gates": plan.gates}
            first = (new, msgspec.structs.replace(draft, from_=live, evidence=evidence))
            if current is None or not current.is_open:
                return [first]
            return [(changed(current, {"state": "superseded"}, at), _superseded(current, new)), first]

        return self._written(name, version, decide, at)

    def _written(
        self, name: str, version: int | None, decide: Callable[[Release | None], Written], at: str
    ) -> Release:
        written = self._catalog.write_releases(name, decide, at)
        if written is None:
            raise self._missing(Ref(name, version=version))
        return written

    def _now(self) -> str:
        return iso_time(self._clock(), "milliseconds")

    def _missing(self, ref: Ref) -> LadingError:
        from lading.registry.not_found import missing

        models, versions = self._catalog.models(), self._catalog.versions(ref.name)
        return missing(ref, models, versions, self._catalog.where)


def _superseded(old: Release, new: Release) -> EventDraft:
    return EventDraft(
        kind="superseded",
        actor=new.actor,
        reason=f"release {new.number} took its place",
        from_=str(old.candidate),
        to=str(new.candidate or new.live),
        version=old.candidate,
    )


def _stale(release: Release, current: Release | None) -> StaleRelease:
    found = "no release"
    if current is not None:
        found = f"release {current.number}, change {current.epoch}, by `{current.actor}`"
    return StaleRelease(
        f"release {release.number} of `{release.name}`",
        expected=f"change {release.epoch} of it to be the last",
        found=found,
        hint="look at it again: `lading rollout status " + release.name + "`",
    )
