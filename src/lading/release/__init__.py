"""A release: the wish that a version serves under a model's name, how it gets there, and how it ended.

Pure data and functions: the consequences of a change (`begin`, `changed`), the split of traffic (`split`),
the chain of ``events``. Stores nothing, reads no clock and draws no random number itself; whether a candidate
is good enough is the verdict's part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal, TypedDict, get_args

import msgspec

from lading import notebook
from lading.errors import InvalidSetting, UsageError
from lading.release.events import NO_HASH, Event, EventDraft, EventKind, event_hash, verify_chain

__all__ = [
    "NO_HASH",
    "OPEN_STATES",
    "SAME_WITHIN",
    "Changes",
    "Event",
    "EventDraft",
    "EventKind",
    "HeaderRule",
    "Mode",
    "Plan",
    "Release",
    "ReleaseState",
    "Side",
    "begin",
    "changed",
    "event_hash",
    "link",
    "split",
    "verify_chain",
]

Mode = Literal["live", "shadow", "canary", "ab"]
Side = Literal["live", "candidate"]
ReleaseState = Literal["running", "paused", "live", "rolled_back", "superseded", "refused"]
# Open releases have a candidate; the others have ended and have none.
OPEN_STATES: frozenset[ReleaseState] = frozenset({"running", "paused"})

SAME_WITHIN = 0.5
"""How far apart numbers may be and be the same answer, in parts of the spread of live's golden values."""

_DEFAULT_STEPS: dict[Mode, tuple[int, ...]] = {
    "live": (100,),
    "shadow": (0,),
    "canary": (5, 25, 50, 100),
    "ab": (50,),
}


class HeaderRule(msgspec.Struct, frozen=True):
    """Requests whose header `header` equals `equals` go to one side, whatever the weight."""

    header: str
    equals: str
    side: Side


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a version becomes live. Raises `InvalidSetting`.

    ``salt`` is drawn when the release begins: callers, who do not know it, cannot choose the side of a key.
    """

    mode: Mode
    steps: tuple[int, ...] = ()  # percent of traffic; empty: the usual steps of the mode
    hold_s: float = 60.0
    min_requests: int = 500
    no_traffic_timeout_s: float = 3600.0
    gates: dict[str, float] = {}  # limits of live evidence by name
    rules: tuple[HeaderRule, ...] = ()
    salt: str = ""  # empty in releases that began before there was one

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, get_args(Mode))
        if not self.steps:
            # The struct is frozen, and the usual steps are part of its value from the beginning.
            msgspec.structs.force_setattr(self, "steps", _DEFAULT_STEPS[self.mode])
        rising = all(low < high for low, high in zip(self.steps, self.steps[1:], strict=False))
        if not rising or not all(0 <= step <= 100 for step in self.steps):
            _refuse("steps", "percentages from 0 to 100, each above the one before", list(self.steps))
        if self.mode != "canary" and len(self.steps) != 1:
            _refuse("steps", f"one step in mode `{self.mode}`", list(self.steps))
        if self.mode in ("live", "shadow") and self.steps != _DEFAULT_STEPS[self.mode]:
            _refuse("steps", f"{_DEFAULT_STEPS[self.mode][0]} in mode `{self.mode}`", list(self.steps))
        for name in ("hold_s", "min_requests", "no_traffic_timeout_s"):
            if not getattr(self, name) >= 0:  # NaN included
                _refuse(name, "at least 0", getattr(self, name))

    def is_same(self, other: Plan) -> bool:
        """Return whether both say the same, whatever salt was drawn for them."""
        return msgspec.structs.replace(self, salt=other.salt) == other


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One release of a model. Times are ISO 8601, UTC."""

    name: str
    number: int  # 1, 2, 3 … per model; the highest is the current release
    live: int | None  # a version
    candidate: int | None  # a version, while the release is open
    plan: Plan
    step: int  # index into `plan.steps`
    weight_percent: float  # the candidate's share now
    state: ReleaseState
    reason: str
    actor: str
    runtime: str | None  # id of the fingerprint that the version was proved on
    replaces: int | None  # the version that was live when the release was made
    created_at: str
    changed_at: str
    step_started_at: str
    # Grows by one with every change. A writer names the epoch it has read, so that nobody overwrites a
    # change that he has not seen.
    epoch: int

    @property
    def is_open(self) -> bool:
        """Return whether a candidate is still on its way."""
        return self.state in OPEN_STATES

    @property
    def can_be_refused(self) -> bool:
        """Return whether there is a version to go back to: beside its candidate, or the replaced one."""
        return self.is_open or (self.state == "live" and self.replaces is not None)

    @property
    def released(self) -> int | None:
        """Return the version that `runtime` is about, or None if the release ended without it."""
        return self.candidate if self.is_open else self.live if self.state == "live" else None

    def __repr__(self) -> str:
        sides = f"live {self.live}" + (f", candidate {self.candidate}" if self.is_open else "")
        return f"Release({self.name} {self.number}: {self.plan.mode}, {self.state}, {sides})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("release", self)


class Changes(TypedDict, total=False):
    """What a change may set; the rest follows (see `changed`)."""

    step: int
    weight_percent: float
    state: ReleaseState
    reason: str
    live: int | None
    candidate: int | None


def split(
    key: bytes | None, name: str, weight_percent: float, draw: Callable[[], float], salt: str = ""
) -> Side:
    """Choose the side of a request: by its key, the same everywhere in a release, else by `draw` from [0, 1).

    A key that has gone to the candidate stays there while the weight grows.
    """
    if weight_percent <= 0:
        return "live"
    if key is None:
        fraction = draw()
    else:
        # The zero byte is in no name: `ab` with `c` and `a` with `bc` differ.
        digest = hashlib.sha256(salt.encode() + name.encode() + b"\0" + key).digest()
        fraction = int.from_bytes(digest[:8]) / 2**64
    # The rounding of the highest fractions to 1.0 must not keep a key from a weight of 100.
    return "candidate" if fraction * 100 < weight_percent or weight_percent >= 100 else "live"


def begin(
    before: Release | None, name: str, version: int, plan: Plan, *, actor: str, at: str, runtime: str | None
) -> Release:
    """Return the release of `version` that follows `before`, the current one. Raises `UsageError`."""
    live = before.live if before is not None else None
    at_once = plan.mode == "live"
    if not at_once and live is None:
        raise UsageError(
            f"release of `{name}:{version}`, mode `{plan.mode}`",
            expected="a live version beside it",
            found="none",
            hint=f"`lading release {name}:{version}` makes it live at once",
        )
    if not at_once and live == version:
        where = f"release of `{name}:{version}`, mode `{plan.mode}`"
        raise UsageError(where, expected="another version than the live one", found=f"`{version}`")
    return Release(
        name=name,
        number=before.number + 1 if before is not None else 1,
        live=version if at_once else live,
        candidate=None if at_once else version,
        plan=plan,
        step=0,
        weight_percent=0.0 if at_once else float(plan.steps[0]),
        state="live" if at_once else "running",
        reason="",
        actor=actor,
        runtime=runtime,
        replaces=live,
        created_at=at,
        changed_at=at,
        step_started_at=at,
        epoch=1,
    )


def changed(release: Release, changes: Changes, at: str) -> Release:
    """Return the release after a change; raises `UsageError` if states or steps do not lead there.

    What follows of itself need not be said: a step brings its weight; ``live`` makes the candidate live;
    an end takes candidate and weight away; ``refused`` and ``rolled_back`` of a release that went live at
    once bring back what it replaced.
    """
    state = changes.get("state", release.state)
    step = changes.get("step", release.step)
    _check_state(release, state)
    _check_step(release, step)
    follows: dict[str, Any] = {"changed_at": at, "epoch": release.epoch + 1}
    if step != release.step:
        follows |= {"weight_percent": float(release.plan.steps[step]), "step_started_at": at}
    if state not in OPEN_STATES:
        follows |= {"candidate": None, "weight_percent": 0.0}
    if state == "live" and release.candidate is not None:
        follows["live"] = release.candidate
    if release.state == "live" and state != "live":
        follows["live"] = release.replaces
    done: Release = msgspec.structs.replace(release, **{**follows, **changes})
    if not 0 <= done.weight_percent <= 100:
        _refuse("weight_percent", "0 to 100", done.weight_percent)
    if (done.candidate is None) == done.is_open:
        where = f"release {release.number} of `{release.name}`, state `{done.state}`"
        words = ("a candidate", "none") if done.is_open else ("no candidate", f"`{done.candidate}`")
        raise UsageError(where, expected=words[0], found=words[1])
    return done


def link(
    previous: Event | None,
    release: Release,
    draft: EventDraft,
    *,
    at: str,
    digest: str,
    seal: Callable[[Event], Event] = lambda event: event,
) -> Event:
    """Make the event that follows `previous` in the chain of the release's model; `seal` may add a seal."""
    event = Event(
        name=release.name,
        number=release.number,
        seq=previous.seq + 1 if previous is not None else 1,
        at=at,
        actor=draft.actor,
        kind=draft.kind,
        from_=draft.from_,
        to=draft.to,
        reason=draft.reason,
        # As it comes out of JSON, so that an event is the same before and after it was stored.
        evidence=msgspec.json.decode(msgspec.json.encode(draft.evidence)),
        digest=digest,
        fingerprint=draft.fingerprint or release.runtime or "",
        previous=previous.hash if previous is not None else NO_HASH,
        hash="",
    )
    event = seal(event)
    return msgspec.structs.replace(event, hash=event_hash(event))


def _check_state(release: Release, state: ReleaseState) -> None:
    _one_of("state", state, get_args(ReleaseState))
    undone = release.state == "live" and state in ("refused", "rolled_back")
    if not (release.is_open or state == release.state or undone):
        where = f"release {release.number} of `{release.name}`"
        raise UsageError(where, expected="one that is not ended", found=f"state `{release.state}`")


def _check_step(release: Release, step: int) -> None:
    last = min(release.step + 1, len(release.plan.steps) - 1)
    if not 0 <= step <= last:
        where = f"release {release.number} of `{release.name}`, step"
        raise UsageError(where, expected=f"at most {last}: none is skipped", found=f"{step}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        _refuse(name, "one of " + ", ".join(f"`{choice}`" for choice in choices), value)


def _refuse(name: str, expected: str, found: object) -> None:
    raise InvalidSetting(f"`{name}` of a release", expected=expected, found=f"`{found}`")
