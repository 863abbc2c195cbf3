"""What a monitor has found: alarms, as the catalog keeps them and people read them. Finds nothing itself."""

from __future__ import annotations

from typing import Literal

import msgspec

AlarmKind = Literal["drift", "missing", "decay", "estimated", "input-checks", "slice"]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One finding about a version, from the moment at which it was raised until it has ended.

    ``subject`` is the column, output or slice that it is about, empty for the whole model. ``began_at`` is
    when what was found began, by the windows that show it; ``raised_at`` when it was certain enough to say
    so; ``ended_at`` is 0 while it lasts. All are Unix times. ``value`` is what was measured, ``text`` one
    sentence for people. ``acknowledged_by`` names who has taken it, empty for nobody.
    """

    id: str
    name: str
    version: int
    digest: str
    release: int
    kind: AlarmKind
    subject: str
    began_at: float
    raised_at: float
    value: float
    text: str
    ended_at: float = 0.0
    acknowledged_by: str = ""

    @property
    def is_open(self) -> bool:
        """Return whether it has not ended."""
        return not self.ended_at


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's live columns are compared with, instead of the profiles of its bundles.

    ``profile`` is the JSON of another reference, empty for that of the bundles. With ``same_hours`` an hour
    is compared with the same hours of the four weeks before, as soon as there are two of them.
    """

    name: str
    profile: str
    set_at: float
    set_by: str
    text: str
    same_hours: bool = False
