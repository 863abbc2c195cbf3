"""What a client says of itself to a server, and which servers it trusts. Reads no variable, asks nobody."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from lading.errors import InvalidSetting


def with_key(headers: Mapping[str, str] | None, key: str | None) -> dict[str, str]:
    """Return the headers of every request, with a `key` unless they state another credential."""
    own = {name.lower(): value for name, value in (headers or {}).items()}
    if key and "authorization" not in own:
        # RFC 9110, section 5.5: a line end would begin a header of its own.
        if not (key.isascii() and key.isprintable()):
            raise InvalidSetting("`key`", expected="printable characters of ASCII", found="others")
        own["authorization"] = f"Bearer {key}"
    return own


def trusted(ca: str | Path | None, cert: tuple[str | Path, str | Path] | None) -> ssl.SSLContext | bool:
    """Return whom to trust, and who the client is: True for what is usual, else a context of the files.

    Raises `InvalidSetting` for files that cannot be used.
    """
    if ca is None and cert is None:
        return True
    try:
        # With a `ca` of its own, the authorities of the system are not trusted besides.
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(*cert)
    except (ssl.SSLError, OSError) as error:
        where = "`ca`" if cert is None else "`ca` and `cert`"
        # Of an SSLError, `strerror` may be None and the text is all that there is.
        reason = (error.strerror or str(error)).lower()
        raise InvalidSetting(where, expected="files in PEM", found=reason) from None
    return context
