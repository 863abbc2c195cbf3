"""The key of a hub, from a file or a variable."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting
from lading.hub.key import read_key

KEY = "0123456789abcdef" * 4


def test_the_key_comes_from_the_file_else_from_the_variable_else_there_is_none(tmp_path):
    path = tmp_path / "hub.key"
    path.write_text(f"{KEY}\n")
    assert read_key(path, {"LADING_HUB_KEY": "x" * 40}) == KEY
    assert read_key(None, {"LADING_HUB_KEY": f" {'x' * 40} "}) == "x" * 40
    assert read_key(None, {}) is None


@pytest.mark.parametrize("text", ["", "x" * 31, "é" * 15, f"{KEY}\n{KEY}", f"{KEY}\0", "x" * 1025])
def test_a_key_that_is_too_short_or_no_line_is_refused_without_being_shown(tmp_path, text):
    path = tmp_path / "hub.key"
    path.write_text(text)
    for read in (lambda: read_key(path, {}), lambda: read_key(None, {"LADING_HUB_KEY": text})):
        with pytest.raises(InvalidSetting, match="expected a key in one line, of 32 to 1024 bytes") as caught:
            read()
        assert caught.value.hint == "`openssl rand -hex 32` makes one"
        assert len(text) < 15 or text[:15] not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(InvalidSetting, match="No such file"):
        read_key(tmp_path / "none", {})
    (tmp_path / "binary").write_bytes(b"\xff" * 40)
    with pytest.raises(InvalidSetting, match="other bytes than text"):
        read_key(tmp_path / "binary", {})
