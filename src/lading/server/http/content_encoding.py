"""Bodies that clients send compressed (RFC 9110, section 8.4): unpacked to the body limit and not beyond."""

from __future__ import annotations

import zlib

from lading.errors import BodyInvalid, BodyTooLarge, MediaTypeRefused

_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


def unpacked(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """Undo the ``content-encoding`` of a body.

    Raises `MediaTypeRefused` for one that is not known, `BodyInvalid` where the body is not that, and
    `BodyTooLarge` for more than `max_bytes`.
    """
    encoding = encoding.strip().lower()
    if encoding == b"identity":
        return body
    window = _WINDOWS.get(encoding)
    if window is None:
        found = f"`{encoding.decode('latin-1')}`"
        raise MediaTypeRefused("`content-encoding`", expected="`gzip` or `deflate`, or none", found=found)
    expected = f"a body in `{encoding.decode()}`"
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise BodyInvalid("request body", expected=expected, found=str(error)) from None
    if len(plain) > max_bytes:
        raise too_large(max_bytes, f"more behind {len(body)} compressed ones")
    if not stream.eof or stream.unused_data:
        found = "its beginning only" if not stream.eof else f"{len(stream.unused_data)} bytes behind it"
        raise BodyInvalid("request body", expected=expected, found=found)
    return plain


def too_large(max_bytes: int, found: str) -> BodyTooLarge:
    """Say that a body has more than `max_bytes`."""
    hint = "send fewer rows at a time, or raise `max_body_bytes`"
    return BodyTooLarge("request body", expected=f"at most {max_bytes} bytes", found=found, hint=hint)
