"""`lading version`: the same as the option prints."""

from __future__ import annotations

import json


def test_the_version_is_printed(lading):
    for words in (["--version"], ["-V"], ["version"]):
        assert lading(*words) == (0, "lading 0.1.0\n", "")
    assert set(json.loads(lading("version", "--json")[1])) == {"lading", "python"}
