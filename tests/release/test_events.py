"""Events: each as its author wrote it, in a chain that shows what was changed or left out."""

from __future__ import annotations

import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.release import (
    NO_HASH,
    Event,
    EventDraft,
    link,
    verify_chain,
)
from support.releases import AT, canary


def chain(count: int, name: str = "iris") -> list[Event]:
    events: list[Event] = []
    release = msgspec.structs.replace(canary(), name=name)
    for number in range(count):
        draft = EventDraft(kind="step", actor="driver", reason=f"{number}", evidence={"p": 0.1 + 0.2})
        events.append(link(events[-1] if events else None, release, draft, at=AT, digest="sha256:1"))
    return events


def test_a_whole_chain_verifies_also_when_models_are_mixed():
    iris, wine = chain(5), chain(3, "wine")
    mixed = [event for pair in itertools.zip_longest(iris, wine) for event in pair if event is not None]
    assert iris[0].previous == NO_HASH
    assert verify_chain([]) is verify_chain(iris) is verify_chain(mixed) is None


def test_an_event_is_the_same_after_json():
    event = link(
        None,
        canary(),
        EventDraft(kind="step", actor="d", evidence={"n": (1, 2), "nan": math.nan, "x": 1e-300, "i": 2**60}),
        at=AT,
        digest="sha256:1",
    )
    assert event.evidence == {"n": [1, 2], "nan": None, "x": 1e-300, "i": 2**60}
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event
    assert b'"from":' in msgspec.json.encode(event)


@pytest.mark.parametrize("field", [name for name in Event.__struct_fields__ if name != "name"])
def test_a_changed_field_breaks_the_chain_at_its_event(field):
    events = chain(6)
    value = getattr(events[3], field)
    other = value + 1 if isinstance(value, int) else {"p": 0.3} if field == "evidence" else f"{value}?"
    if field == "kind":
        other = "promoted"
    events[3] = msgspec.structs.replace(events[3], **{field: other})
    assert verify_chain(events) is events[3]


@pytest.mark.slow
@given(st.data())
def test_an_event_left_out_doubled_or_moved_breaks_the_chain(data):
    events = chain(data.draw(st.integers(2, 8)))
    broken = list(events)
    at = data.draw(st.integers(0, len(events) - 2))
    change = data.draw(st.sampled_from(["left out", "doubled", "swapped"]))
    if change == "left out":
        del broken[at]
    elif change == "doubled":
        broken.insert(at, broken[at])
    else:
        broken[at], broken[at + 1] = broken[at + 1], broken[at]
    assert verify_chain(broken) is not None
