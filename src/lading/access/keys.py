"""API keys: how they are drawn, how scanners recognise them, and the only form in which they are kept.

A key is ``lading_``, 32 characters of 62, and 6 characters of a checksum: scanners that search logs and
repositories for leaked keys find them without false alarms. With 190 bits drawn at random, one SHA-256 is
enough to keep it: nobody can try out so many.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib

PREFIX = "lading_"
# No sign that a shell, a URL or TOML would quote, and none at which a double click ends.
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DRAWN, _CHECKED = 32, 6
LENGTH = len(PREFIX) + _DRAWN + _CHECKED

PATTERN = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_DRAWN + _CHECKED}}}")
"""What scanners search for."""


def new_key() -> str:
    """Return a new key, from the randomness of the operating system."""
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_DRAWN))
    return body + _checksum(body)


def is_key(text: str) -> bool:
    """Return whether a text has the form and the checksum of a key, known or not."""
    return PATTERN.fullmatch(text) is not None and _checksum(text[:-_CHECKED]) == text[-_CHECKED:]


def key_hash(text: str) -> str:
    """Return the SHA-256 of a key in hex, as the access file has it."""
    # Without a salt, so that a key is looked up by its hash: 190 random bits are in no table.
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(body: str) -> str:
    # Like GitHub's tokens: a CRC32 in base 62 is at most six digits.
    left, digits = zlib.crc32(body.encode()), []
    for _ in range(_CHECKED):
        left, digit = divmod(left, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
