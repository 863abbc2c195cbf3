"""The path under which a proxy shows this server to its clients: what its own links have to begin with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.errors import InvalidSetting

# One or more segments of what RFC 3986 allows in a path. Two slashes at the beginning would be another host.
_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+")
_HEADER = b"x-forwarded-prefix"


def checked_prefix(root_path: str) -> str:
    """Return the setting without a slash at its end; raises `InvalidSetting`."""
    prefix = root_path.rstrip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        expected = "a path that begins with `/`, such as `/ml`"
        raise InvalidSetting("`root_path`", expected=expected, found=f"`{root_path}`")
    return prefix


def prefix_of(headers: Mapping[bytes, bytes], root_path: str) -> str:
    """Return the prefix of a request: its proxy's, else `root_path`; a header that is no path is ignored."""
    sent = headers.get(_HEADER, b"").decode("latin-1").rstrip("/")
    return sent if _PREFIX.fullmatch(sent) else root_path
