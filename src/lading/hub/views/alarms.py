"""The alarms of all models, open and ended, and the alerts that go to people by rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args
from urllib.parse import urlencode

import msgspec

from lading.alarms import Alarm, AlarmKind
from lading.errors import UsageError
from lading.hub.views.tables import one_of
from lading.monitor.alerts import AlertState
from lading.ref import check_name
from lading.registry.catalog.monitoring import AlarmQuery

ALARMS_A_PAGE = 50
STATES = ("open", "ended")
_MOST_ALERTS = 200
KINDS: tuple[str, ...] = get_args(AlarmKind)
_LONGEST_ID = 63
_STATUSES = ("firing", "pending", "resolved")


class AlarmsState(msgspec.Struct, frozen=True, kw_only=True):
    """Which alarms are shown; what is empty is any.

    ``before`` is the place of the last alarm of the page before: when it was raised, and its id.
    """

    model: str = ""
    kind: str = ""
    state: str = ""
    before: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> AlarmsState:
        """Return the state in the parameters of an address.

        Raises `InvalidName` for what is no model's name, and `UsageError` for another kind, state or place.
        """
        # Blanks come with what is copied into the form.
        chosen = cls(**{name: query.get(name, "").strip() for name in cls.__struct_fields__})
        if chosen.model:
            check_name(chosen.model)
        for where, value, allowed in (("kind", chosen.kind, KINDS), ("state", chosen.state, STATES)):
            if value:
                one_of(f"`{where}`", value, allowed)
        _place(chosen.before)
        return chosen

    def link(self, **changes: str) -> str:
        """Return the query of the same page with changes; from its first page if they change its rows."""
        values = {**msgspec.structs.asdict(self), "before": "", **changes}
        return f"?{urlencode({name: value for name, value in values.items() if value})}"

    def asked(self) -> AlarmQuery:
        """Return what the catalog is asked for."""
        kinds: dict[str, AlarmKind] = dict(zip(KINDS, get_args(AlarmKind), strict=True))
        return AlarmQuery(
            name=self.model or None,
            kind=kinds.get(self.kind),
            is_open=None if not self.state else self.state == "open",
            before=_place(self.before),
        )


class AlarmsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of alarms, last raised first. ``older`` is the place behind which more are, empty for none.

    ``open`` counts the open alarms of all models; ``alerts`` are those of all rules, firing ones first.
    """

    state: AlarmsState
    alarms: list[Alarm]
    older: str
    open: int
    alerts: list[AlertState]
    more_alerts: int
    kinds: tuple[str, ...] = KINDS


def alarms_page(
    state: AlarmsState, alarms: Sequence[Alarm], alerts: Sequence[AlertState], open_alarms: int
) -> AlarmsPage:
    """Return the page with one more alarm than it shows, if more are behind it."""
    rows = list(alarms[:ALARMS_A_PAGE])
    older = f"{rows[-1].raised_at!r}~{rows[-1].id}" if len(alarms) > len(rows) else ""
    # What people were called for is first, then what they may be called for.
    ordered = sorted(alerts, key=lambda each: (_STATUSES.index(each.status), -each.since, each.key))
    if state.model:
        ordered = [alert for alert in ordered if alert.model == state.model]
    return AlarmsPage(
        state=state,
        alarms=rows,
        older=older,
        open=open_alarms,
        alerts=ordered[:_MOST_ALERTS],
        more_alerts=max(0, len(ordered) - _MOST_ALERTS),
    )


def read_alerts(bodies: Mapping[str, str]) -> list[AlertState]:
    """Return the alerts that the catalog keeps; one that another lading wrote otherwise is left out."""
    alerts = []
    for body in bodies.values():
        try:
            alerts.append(msgspec.json.decode(body, type=AlertState))
        except msgspec.DecodeError:
            # The driver of that lading goes on with it; here is nothing that could be said of it.
            continue
    return alerts


def _place(text: str) -> tuple[float, str] | None:
    if not text:
        return None
    at, _, id = text.partition("~")
    try:
        place: Any = (float(at), id)
    except ValueError:
        place = None
    # A place that is no number, such as nan, comes before and after nothing.
    if place is None or not 0 <= place[0] < 1e12 or not 0 < len(id) <= _LONGEST_ID or "\0" in id:
        raise UsageError("`before`", expected="the place of an alarm", found=f"`{text[:80]}`")
    return place[0], id
