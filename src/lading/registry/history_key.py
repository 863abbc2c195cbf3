"""The keys that seal a history, from the file that ``LADING_HISTORY_KEY_FILE`` names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lading.errors import InvalidSetting
from lading.release.seals import Keyring
from lading.settings import store_settings


def read_keyring(environ: Mapping[str, str] = os.environ) -> Keyring | None:
    """Return the keys of the history, or None if no file is named. Raises `InvalidSetting`."""
    path = store_settings(environ).history_key_file
    if not path:
        return None
    place = f"`LADING_HISTORY_KEY_FILE`, `{path}`"
    try:
        # A new key is a line on top of the file; those below it still verify what they have sealed.
        text = Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        actual = error.strerror if isinstance(error, OSError) else "other bytes than text"
        raise InvalidSetting(place, expected="a file that can be read", found=str(actual)) from error
    return Keyring.parse(text, place)
