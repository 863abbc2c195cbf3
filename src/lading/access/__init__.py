"""Who may do what: roles, the rule of an action, and callers with what they were granted.

`file` reads who there is, `gate` decides about one request. Nothing here knows HTTP, gRPC or pages: the
server and the hub ask the same gate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

READ, PREDICT, RELEASE, ADMIN = 1, 2, 4, 8

ROLES = {"read": READ, "predict": PREDICT, "release": RELEASE, "admin": ADMIN}
"""The roles by their names in the file; each is a bit, so that one test answers for several."""

# Who may release sees what there is to release; who administrates may do everything.
_IMPLIED = {"release": READ, "admin": READ | PREDICT | RELEASE}

_ANY_ROLE = READ | PREDICT | RELEASE | ADMIN
_MOST_REMEMBERED = 1024


class Rule(NamedTuple):
    """What an action needs: one of the roles in ``roles``, on its model if it is ``of_model``.

    Without roles it is open to everybody. An action on no model that shows or changes what all models have in
    common is ``of_all``: a caller who is limited to some models may not do it.
    """

    name: str
    roles: int
    of_model: bool = False
    of_all: bool = False


OPEN = Rule("open", 0)
"""Answers everybody: the probes of a platform, which have no key."""

FACTS = Rule("facts of a model", READ | PREDICT, of_model=True)
"""Signature and state of one model: for who reads, and for who may ask the model."""

SERVER_FACTS = Rule("facts of the server", _ANY_ROLE)
"""What is the same on every server: for every caller who is known."""

READ_ALL = Rule("read all", READ, of_all=True)
"""Lists and counts of all models."""

PREDICTION = Rule("predict", PREDICT, of_model=True)
"""Predictions, jobs, and the truth about them."""

OWN_JOB = Rule("job", PREDICT)
"""A job by its id: its model is looked at once it is known (`Caller.may`)."""

LOAD = Rule("load", RELEASE, of_model=True)
"""Loads or unloads a model."""

LOAD_ALL = Rule("load all", RELEASE, of_all=True)
"""Changes which models are loaded."""

RULES = (OPEN, FACTS, SERVER_FACTS, READ_ALL, PREDICTION, OWN_JOB, LOAD, LOAD_ALL)


class Grant(NamedTuple):
    """Roles, as bits, on the models that match one of ``models``; ``*`` stands for any characters."""

    roles: int
    models: tuple[str, ...] = ("*",)

    @property
    def is_unlimited(self) -> bool:
        """Whether it holds for every model."""
        return "*" in self.models


class Limit(NamedTuple):
    """A token bucket: ``burst`` requests at once, refilled at ``per_s``; ``text`` is the file's."""

    per_s: float
    burst: float
    text: str


@dataclass(eq=False, slots=True)
class Caller:
    """Who asks: a key, the subject of a token or of a certificate, with what it was granted.

    ``kind`` is "key", "token", "certificate" or "server". ``expires_at`` is Unix time, and so is ``until``,
    after which it has to be proved again. ``slots`` are where its limits are counted (`Limits`). ``known``
    has what `may` has answered, by rule and model.
    """

    name: str
    kind: str
    grants: tuple[Grant, ...]
    expires_at: float = float("inf")
    until: float = float("inf")
    limits: tuple[Limit, ...] = ()
    slots: tuple[int, ...] = ()
    known: dict[tuple[str, str], bool] = field(default_factory=dict, repr=False)

    def may(self, rule: Rule, model: str = "") -> bool:
        """Return whether the caller may do what `rule` rules, on `model` if it is about one."""
        key = (rule.name, model)
        known = self.known.get(key)
        if known is None:
            known = any(_allows(grant, rule, model) for grant in self.grants)
            if len(self.known) >= _MOST_REMEMBERED:  # Names come from callers: there is no end of them.
                self.known.clear()
            self.known[key] = known
        return known


ANYBODY = Caller("", "", ())
"""Who asks for what is open to everybody."""

INNER = Caller("lading", "server", (Grant(_ANY_ROLE),))
"""The server itself, which asks for the jobs that callers were allowed to submit."""


def may_at_all(caller: Caller, rule: Rule) -> bool:
    """Return whether there is a model on which a caller may do what `rule` rules."""
    return not rule.roles or any(grant.roles & rule.roles for grant in caller.grants)


def roles_of(names: tuple[str, ...]) -> int:
    """Return the bits of roles, with those that they imply."""
    # Implied roles are written out once here, so that each check is one test of bits.
    bits = 0
    for name in names:
        bits |= ROLES[name] | _IMPLIED.get(name, 0)
    return bits


def _allows(grant: Grant, rule: Rule, model: str) -> bool:
    if not grant.roles & rule.roles:
        return False
    if rule.of_model:
        return any(_matches(pattern, model) for pattern in grant.models)
    return grant.is_unlimited or not rule.of_all


def _matches(pattern: str, name: str) -> bool:
    """Return whether a name matches; other signs than ``*`` stand for themselves."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    if not name.startswith(first) or not name[len(first) :].endswith(rest[-1]):
        return False
    # By hand and not by a regular expression: time grows with the length, whatever the pattern is.
    at, end = len(first), len(name) - len(rest[-1])
    for part in rest[:-1]:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return at <= end
