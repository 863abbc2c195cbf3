"""The history of releases, and how a change of it is noticed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lading.release import EventDraft, verify_chain


def test_the_history_lists_every_event_and_verifies_the_chain(lading, proved):
    assert lading("history", "iris")[:2] == (0, "")
    lading("release", "iris:1")
    assert "the history of `iris` is complete: 1 event\n" in lading("history", "iris", "--check")[2]
    lading("release", "iris:2", "--canary")
    lading("rollback", "iris", "--to", "1")
    code, stdout, stderr = lading("history", "iris", "--check")
    assert code == 0
    kinds = [line.split()[5] for line in stdout.splitlines()[1:]]
    assert kinds == ["released", "released", "superseded", "rolled_back"]
    assert "the history of `iris` is complete: 4 events" in stderr
    events = json.loads(lading("history", "iris", "--last", "2", "--json")[1])["events"]
    assert [event["kind"] for event in events] == ["superseded", "rolled_back"]
    assert verify_chain(proved.releases.events("iris")) is None


def tamper(registry: Path, statement: str, *values: object) -> None:
    """Change the catalog behind lading's back: without the triggers that protect events."""
    with closing(sqlite3.connect(registry / "catalog.db")) as connection, connection:
        triggers = connection.execute("select name from sqlite_master where type = 'trigger'").fetchall()
        for (trigger,) in triggers:
            connection.execute(f"drop trigger {trigger}")
        connection.execute(statement, values)


@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("update events set actor = 'nobody' where seq = 2", "event 2"),
        ("delete from events where seq = 2", "event 3"),
        ("delete from events where seq > 1", "its end"),
    ],
)
def test_an_altered_history_is_noticed_and_the_event_named(lading, proved, filled, statement, place):
    lading("release", "iris:1")
    lading("release", "iris:2")
    lading("release", "iris:1")
    tamper(filled, statement)
    code, _, stderr = lading("history", "iris", "--check")
    assert code == 1
    assert f"history of `iris`, {place}" in stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("update releases set live = 2", "its row says that version 2 is live, its history version 1"),
        (
            "update releases set candidate = 7 where number = 2",
            "the candidate is version 7, its history version 2",
        ),
    ],
)
def test_a_release_row_that_was_rewritten_is_noticed(lading, proved, filled, statement, sentence):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary")
    assert lading("history", "iris", "--check")[0] == 0
    tamper(filled, statement)
    code, _, stderr = lading("history", "iris", "--check")
    assert code == 1
    assert sentence in stderr


@pytest.mark.parametrize(("last", "changes"), [(3, 2), (2, 1)])
def test_a_history_whose_end_was_cut_off_within_the_newest_release_is_noticed(
    lading, proved, filled, last, changes
):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    lading("rollout", "promote", "iris", "--release", "2", "--to", "100")
    lading("rollout", "pause", "iris")
    # A note at the end is no change of the release, and its absence proves nothing.
    proved.releases.note(proved.releases.current("iris"), EventDraft(kind="ready", actor="web-1"))
    assert lading("history", "iris", "--check")[0] == 0
    tamper(filled, "delete from events where seq > ?", last)
    code, _, stderr = lading("history", "iris", "--check")
    assert code == 1
    assert f"history of `iris`, its end: expected 3 changes of release 2, found {changes}" in stderr


@pytest.fixture
def key_file(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"k1 {'a' * 40}\n")
    monkeypatch.setenv("LADING_HISTORY_KEY_FILE", str(path))
    return path


def test_without_a_key_the_check_says_that_the_chain_can_be_forged(lading, proved):
    lading("release", "iris:1")
    code, _, stderr = lading("history", "iris", "--check")
    assert code == 0
    assert "anyone who can write to the catalog can write a whole new chain" in stderr
    code, _, stderr = lading("history", "iris", "--seal")
    assert code == 2
    assert "LADING_HISTORY_KEY_FILE" in stderr


def test_a_history_is_sealed_from_the_first_key_on_and_a_forged_one_is_found(
    lading, proved, filled, key_file, monkeypatch
):
    monkeypatch.delenv("LADING_HISTORY_KEY_FILE")
    lading("release", "iris:1")
    monkeypatch.setenv("LADING_HISTORY_KEY_FILE", str(key_file))
    code, _, stderr = lading("history", "iris", "--check")
    assert (code, "event 1 and all after it have no seal" in stderr) == (1, True)
    assert lading("history", "iris", "--seal", "--reason", "compared")[0] == 0
    lading("release", "iris:2")
    code, _, stderr = lading("history", "iris", "--check")
    assert code == 0
    assert "sealed: without a secret of the key file (now `k1`)" in stderr
    # Another key of the same name is a stranger's.
    key_file.write_text(f"k1 {'b' * 40}\n")
    code, _, stderr = lading("history", "iris", "--check")
    assert (code, "event 2 has a seal that is not of the key `k1`" in stderr) == (1, True)
    # A new key beside the old one holds for both.
    key_file.write_text(f"k2 {'b' * 40}\nk1 {'a' * 40}\n")
    lading("release", "iris:1")
    assert "now `k2`" in lading("history", "iris", "--check")[2]


def test_nothing_is_sealed_over_an_event_that_has_no_seal(lading, proved, key_file, monkeypatch):
    lading("release", "iris:1")
    with monkeypatch.context() as patch:
        patch.delenv("LADING_HISTORY_KEY_FILE")
        lading("release", "iris:2")
    code, _, stderr = lading("release", "iris:1")
    assert code == 1
    assert "event 2 and all after it have no seal" in stderr
    assert "--seal" in stderr
    assert lading("history", "iris", "--seal")[0] == 0
    assert lading("release", "iris:1")[0] == 0
    assert lading("history", "iris", "--check")[0] == 0


def test_a_key_file_that_cannot_be_read_is_refused(lading, proved, monkeypatch, tmp_path):
    monkeypatch.setenv("LADING_HISTORY_KEY_FILE", str(tmp_path / "none"))
    code, _, stderr = lading("history", "iris")
    assert (code, "No such file" in stderr) == (2, True)
