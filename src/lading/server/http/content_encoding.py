"""Bodies that clients send compressed (RFC 9110, section 8.4): unpacked to the body limit and not beyond."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from lading.errors import BodyInvalid, BodyTooLarge, MediaTypeRefused
from lading.server.inference.request_memory import COUNTED_BYTES

_PIECE_BYTES = 2**20

# zlib's window bits: 16 more mean a gzip header.
_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


def unpacked(
    body: bytes, encoding: bytes, max_bytes: int, reserve: Callable[[int], None] | None = None
) -> bytes:
    """Undo the ``content-encoding`` of a body; `reserve` is called before each piece, and may refuse.

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
        plain = _decompressed(stream, body, max_bytes + 1, reserve)
    except zlib.error as error:
        raise BodyInvalid("request body", expected=expected, found=str(error)) from None
    if len(plain) > max_bytes:
        raise too_large(max_bytes, f"more after unpacking {len(body)}")
    if not stream.eof or stream.unused_data:
        excess = f"{len(stream.unused_data)} bytes after its end"
        rest = excess if stream.eof else "its beginning only"
        raise BodyInvalid("request body", expected=expected, found=rest)
    return plain


def _decompressed(stream: Any, body: bytes, most: int, reserve: Callable[[int], None] | None) -> bytes:
    parts, size, rest = [], 0, body
    while size < most and not stream.eof:
        piece = min(_PIECE_BYTES, most - size)
        if reserve is not None and (size or len(rest) >= COUNTED_BYTES):
            reserve(piece)
        part = stream.decompress(rest, piece)
        if not part and not stream.unconsumed_tail:
            break
        parts.append(part)
        size, rest = size + len(part), stream.unconsumed_tail
    return b"".join(parts)


def too_large(max_bytes: int, size: str) -> BodyTooLarge:
    """Return the error of a body that has more than `max_bytes`."""
    hint = "send fewer rows at a time, or raise `max_body_bytes`"
    return BodyTooLarge("request body", expected=f"at most {max_bytes} bytes", found=size, hint=hint)
