"""The key of a hub: from the file that ``--key-file`` names, else from ``LADING_HUB_KEY``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lading.errors import InvalidSetting
from lading.settings import hub_key

# 256 bits in hex are 64 bytes; half of that is the least that nobody tries out over the network.
_LEAST_BYTES = 32
_MOST_BYTES = 1024
_HINT = "`openssl rand -hex 32` makes one"


def read_key(path: Path | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the key, or None if there is none. Raises `InvalidSetting`, which shows no key."""
    if path is None:
        key, where = hub_key(environ), "`LADING_HUB_KEY`"
        if key is None:
            return None
    else:
        where = f"`--key-file`, `{path}`"
        try:
            key = path.expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            actual = error.strerror if isinstance(error, OSError) else "other bytes than text"
            raise InvalidSetting(where, expected="a file that can be read", found=str(actual)) from None
    # An editor ends the line of a file, and nobody types blanks at the end of a key.
    key = key.strip()
    # In bytes: characters of other scripts take several, and are guessed as easily.
    size = len(key.encode())
    if not _LEAST_BYTES <= size <= _MOST_BYTES or not key.isprintable():
        expected = f"a key in one line, of {_LEAST_BYTES} to {_MOST_BYTES} bytes"
        actual = f"{size} bytes" if key.isprintable() else "several lines, or other characters than text"
        raise InvalidSetting(where, expected=expected, found=actual, hint=_HINT)
    return key
