"""Keys: their form, and what is kept of them."""

from __future__ import annotations

import hashlib

from lading.access.keys import LENGTH, PATTERN, PREFIX, is_key, key_hash, new_key


def test_a_key_has_the_form_that_scanners_search_for():
    key = new_key()
    assert key.startswith(PREFIX)
    assert len(key) == LENGTH
    assert PATTERN.search(f'curl -H "authorization: Bearer {key}"')[0] == key
    assert is_key(key)


def test_a_key_with_a_changed_character_is_none():
    key = new_key()
    for at in range(len(PREFIX), LENGTH):
        other = "a" if key[at] != "a" else "b"
        assert not is_key(key[:at] + other + key[at + 1 :])
    assert not is_key(key + "a")
    assert not is_key(key[:-1])
    assert not is_key(f"{key}\n")


def test_no_two_keys_are_the_same():
    assert len({new_key() for _ in range(1000)}) == 1000


def test_of_a_key_its_sha_256_is_kept():
    key = new_key()
    assert key_hash(key) == hashlib.sha256(key.encode()).hexdigest()
