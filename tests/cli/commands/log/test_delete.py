"""``lading log delete``: asks first, and says how many records went."""

from __future__ import annotations

import io


def test_delete_says_how_many_records_went(log, lading):
    log.journal.close()
    code, _, err = lading("log", "delete", "iris", "--where", "id = 'a'", "--yes")
    assert code == 0
    assert err == f"removed 2 records of `iris` from {log.root}\n"
    _, out, _ = lading("log", "query", "iris", "select count(*) as n from log")
    assert out.split() == ["n", "1"]


def test_delete_asks_first(log, lading, monkeypatch):
    log.journal.close()
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, _, err = lading("log", "delete", "iris", "--where", "true")
    assert code != 0
    assert "permanently remove 3 records of `iris`?" in err
    _, out, _ = lading("log", "query", "iris", "select count(*) as n from log")
    assert out.split() == ["n", "3"]
