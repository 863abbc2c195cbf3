"""Seals: who has the key can show who wrote a history, and nobody else can write one."""

from __future__ import annotations

import msgspec
import pytest

from lading.errors import InvalidSetting
from lading.release import Event, EventDraft, event_hash, link, verify_chain
from lading.release.from_history import contradiction, trusted
from lading.release.seals import SEAL, Keyring, coverage, key_of, may_follow
from support.releases import AT, canary

OLD = Keyring.parse(f"k1 {'a' * 32}", "file")
NEW = Keyring.parse(f"# the new one\nk2 {'b' * 32}\n\nk1 {'a' * 32}\n", "file")
FOREIGN = Keyring.parse(f"k1 {'c' * 32}", "file")


def chain(*keyrings: Keyring | None, kind: str = "step") -> list[Event]:
    events: list[Event] = []
    for number, keyring in enumerate(keyrings):
        add(events, keyring, kind=kind, reason=f"{number}")
    return events


def add(events: list[Event], keyring: Keyring | None, *, kind: str = "step", reason: str = "") -> None:
    draft = EventDraft(kind=kind, actor="d", reason=reason, evidence={"p": 0.1 + 0.2, "n": float("nan")})
    seal = {} if keyring is None else {"seal": keyring.seal}
    events.append(link(events[-1] if events else None, canary(), draft, at=AT, digest="sha256:1", **seal))


def test_a_sealed_chain_verifies_with_and_without_the_key_and_after_json():
    events = msgspec.json.decode(msgspec.json.encode(chain(OLD, OLD, OLD)), type=list[Event])
    assert verify_chain(events) is None
    assert (coverage(events, OLD).count, coverage(events, OLD).fault) == (3, None)
    assert [key_of(event) for event in events] == ["k1"] * 3


def test_the_first_seal_covers_what_was_written_before_there_was_a_key():
    events = chain(None, None, OLD)
    assert coverage(events, OLD).fault is None
    forged = rewritten(events, 0, actor="mallory")
    assert verify_chain(forged) is None
    assert coverage(forged, OLD).fault == "event 3 has a seal that is not of the key `k1`"


def rewritten(events: list[Event], at: int, **fields: object) -> list[Event]:
    """Change an event, and compute the chain again as anybody can who may write to the catalog."""
    done: list[Event] = []
    for number, event in enumerate(events):
        changed = {**(fields if number == at else {}), "previous": done[-1].hash if done else event.previous}
        new = msgspec.structs.replace(event, **changed)
        done.append(msgspec.structs.replace(new, hash=event_hash(new)))
    return done


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_chain_that_was_written_again_is_found_at_its_first_false_seal(at):
    forged = rewritten(chain(OLD, OLD, OLD), at, to="7")
    assert verify_chain(forged) is None
    found_at = coverage(forged, OLD)
    assert (found_at.count, found_at.fault) == (at, f"event {at + 1} has a seal that is not of the key `k1`")


def test_a_whole_new_chain_without_seals_or_of_another_key_is_found():
    assert coverage(chain(None, None), OLD).fault == "event 1 and all after it have no seal"
    assert coverage(chain(FOREIGN), OLD).fault == "event 1 has a seal that is not of the key `k1`"
    assert "does not have" in coverage(chain(NEW), OLD).fault


def test_an_event_without_a_seal_is_not_covered_by_a_later_one_unless_it_was_sealed_on_purpose():
    events = chain(OLD, None)
    assert coverage(events, OLD).fault == "event 2 and all after it have no seal"
    assert may_follow(events, OLD) == coverage(events, OLD).fault
    gap = [*events]
    add(gap, OLD)
    assert (coverage(gap, OLD).count, "event 2 has no seal" in coverage(gap, OLD).fault) == (1, True)
    add(events, OLD, kind="sealed")
    assert coverage(events, OLD).fault is may_follow(events, OLD) is None


def test_keys_are_changed_by_a_new_first_line_and_old_ones_still_hold():
    events = chain(None, OLD, OLD, NEW, NEW)
    assert coverage(events, NEW).fault is None
    assert (
        coverage(events, OLD).fault == "event 4 is sealed by the key `k2`, which the key file does not have"
    )


@pytest.mark.parametrize(
    "seal", ["x", {}, {"key": "k1"}, {"key": "k1", "mac": 7}, {"key": ["k1"], "mac": ""}]
)
def test_a_seal_of_any_other_form_is_a_fault_and_no_crash(seal):
    forged = rewritten(chain(OLD, OLD), 1, evidence={SEAL: seal})
    assert coverage(forged, OLD).fault is not None


def test_a_row_that_a_forged_history_agrees_with_is_contradicted_with_the_key_alone():
    events = chain(OLD, kind="released")
    events = rewritten(events, 0, to=str(canary().candidate), evidence={})
    assert contradiction(canary(), events, OLD) is not None
    assert trusted(events, OLD) == []
    assert trusted(events, None) == events


@pytest.mark.parametrize(
    "text", ["", "# none", "k1", f"k1 {'a' * 31}", f"k1 {'a' * 32} x", f"k1 {'a' * 32}\nk1 {'b' * 32}"]
)
def test_a_wrong_key_file_is_refused_without_its_secret(text):
    with pytest.raises(InvalidSetting) as caught:
        Keyring.parse(text, "file")
    assert "aaa" not in str(caught.value)
    assert "aaa" not in repr(OLD)
