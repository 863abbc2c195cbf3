"""The keys of a history, from the file that a setting names."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting
from lading.registry.history_key import read_keyring


def environ(path) -> dict[str, str]:
    return {"LADING_HISTORY_KEY_FILE": str(path)}


def test_without_the_setting_no_history_is_sealed():
    assert read_keyring({}) is None


def test_the_first_key_of_the_file_is_the_current_one(tmp_path):
    path = tmp_path / "history.keys"
    path.write_text(f"# from the vault\nk2 {'b' * 64}\nk1 {'a' * 64}\n")
    keyring = read_keyring(environ(path))
    assert (keyring.current, list(keyring.keys)) == ("k2", ["k2", "k1"])


def test_a_file_that_cannot_be_read_is_named_and_no_secret_is_shown(tmp_path):
    path = tmp_path / "history.keys"
    with pytest.raises(InvalidSetting, match="expected a file that can be read, found No such file"):
        read_keyring(environ(path))
    path.write_bytes(b"k1 \xff\xfe")
    with pytest.raises(InvalidSetting, match="found other bytes than text"):
        read_keyring(environ(path))
    path.write_text("k1 short-secret\n")
    with pytest.raises(InvalidSetting) as caught:
        read_keyring(environ(path))
    assert "short-secret" not in caught.value.message
