"""Showing one server."""

from __future__ import annotations

import json


def test_a_server_is_shown_by_its_id_or_the_beginning_of_it(lading, running):
    _, stdout, _ = lading("inventory", "show", "oth")
    assert "other" in stdout
    _, stdout, _ = lading("inventory", "show", "web-1")
    for text in (running, "scikit-learn", "requests", "ml@example.com"):
        assert text in stdout
    assert json.loads(lading("inventory", "show", "web-1", "--json")[1])["packages"]["numpy"] == "2.3.0"
    code, stdout, stderr = lading("inventory", "show", "web")
    assert (code, stdout) == (3, "")
    assert "`web-1`, `web-2`" in stderr
