"""What a message may show of a URL: not who logs in, nor with what."""

from __future__ import annotations

import re

SECRETS = frozenset({"password", "passfile", "sslpassword"})
"""Parameters of libpq that no message shows."""
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)
_PARAMETER = re.compile(rf"([?&](?:{'|'.join(sorted(SECRETS))})=)[^&]*", re.IGNORECASE)


def without_secrets(url: str) -> str:
    """Return what a message may show of a URL, however it is written: not who logs in, nor with what."""
    # A password that was not escaped may hold any character: up to the last `@` nothing is shown.
    return _USER.sub(r"\1***@", _PARAMETER.sub(r"\1***", url))
