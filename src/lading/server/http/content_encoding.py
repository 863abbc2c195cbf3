"""Bodies that clients send compressed (RFC 9110, section 8.4): unpacked to the body limit and not beyond."""

from __future__ import annotations

import zlib

from lading.errors import BodyInvalid, BodyTooLarge, MediaTypeRefused

# zlib's window bits: 16 more mean a gzip header.
_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


def unpacked(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """Undo the ``content-encoding`` of a body.

    Raises `MediaTypeRefused` for an unknown encoding, `BodyInvalid` if the body is not in that encoding, and
    `BodyTooLarge` for more than `max_bytes`.
    """
    encoding = encoding.strip().lower()
    if encoding == b"identity":
        return body
    window = _WINDOWS.get(encoding)
    if window is None:
        name = f"`{encoding.decode('latin-1')}`"
        raise MediaTypeRefused("`content-encoding`", expected="`gzip` or `deflate`, or none", found=name)
    expected = f"a body in `{encoding.decode()}`"
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise BodyInvalid("request body", expected=expected, found=str(error)) from None
    if len(plain) > max_bytes:
        raise too_large(max_bytes, f"more after unpacking {len(body)}")
    if not stream.eof or stream.unused_data:
        excess = f"{len(stream.unused_data)} bytes after its end"
        rest = excess if stream.eof else "its beginning only"
        raise BodyInvalid("request body", expected=expected, found=rest)
    return plain


def too_large(max_bytes: int, size: str) -> BodyTooLarge:
    """Return the error of a body that has more than `max_bytes`."""
    hint = "send fewer rows at a time, or raise `max_body_bytes`"
    return BodyTooLarge("request body", expected=f"at most {max_bytes} bytes", found=size, hint=hint)
