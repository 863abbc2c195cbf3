"""``lading log show``: the last records, those of a time, and those that come."""

from __future__ import annotations

import json

import pytest

from support.predictions import chunk


@pytest.mark.usefixtures("log")
def test_show_has_the_newest_last(lading):
    code, out, _ = lading("log", "show", "iris", "--last", "2")
    header, *lines = out.splitlines()
    assert code == 0
    assert header.split()[:3] == ["time", "request", "version"]
    assert [line.split()[1] for line in lines] == ["a[1]", "b"]
    assert "length=4 width=5" in lines[1]


@pytest.mark.usefixtures("log")
def test_show_as_json_between_times_and_by_a_condition(lading):
    _, out, _ = lading("log", "show", "iris", "--since", "2026-11-30T12:00:01", "--json")
    (record,) = map(json.loads, out.splitlines())
    assert (record["id"], record["time"]) == ("b", "2026-11-30T12:00:01.000Z")
    code, out, err = lading("log", "show", "iris", "--where", "error is not null")
    assert (code, out, err) == (0, "", "no record of `iris` matches\n")


@pytest.mark.slow
def test_show_follows_what_comes(log, lading, monkeypatch):
    """The third look is interrupted, as by Ctrl-C."""
    looks = []

    def wait(_: float) -> None:
        looks.append(None)
        if len(looks) == 3:
            raise KeyboardInterrupt
        log.add(chunk([f"new {len(looks)}"], ended_at=[log.labels_at + 5 * len(looks)]))
        log.flush()

    log.labels_at = 1_796_040_001.0
    monkeypatch.setattr("time.sleep", wait)
    code, out, _ = lading("log", "show", "iris", "--last", "1", "--follow")
    assert code == 130
    assert [line.split("  ")[1].strip() for line in out.splitlines()[1:]] == ["b", "new 1", "new 2"]
