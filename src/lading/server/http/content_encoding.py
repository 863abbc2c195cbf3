"""Bodies that clients send compressed (RFC 9110, section 8.4): unpacked to the body limit and not beyond."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

from lading.errors import BodyInvalid, BodyTooLarge, MediaTypeRefused
from lading.server.inference.request_memory import COUNTED_BYTES

_PIECE_BYTES = 2**20
_FED_BYTES = 2**16  # at once: what is left of it is copied for each piece

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
        plain, unread = _decompressed(stream, body, max_bytes + 1, reserve)
    except zlib.error as error:
        raise BodyInvalid("request body", expected=expected, found=str(error)) from None
    if len(plain) > max_bytes:
        raise too_large(max_bytes, f"more after unpacking {len(body)}")
    if not stream.eof or unread:
        excess = f"{unread} bytes after its end"
        rest = excess if stream.eof else "its beginning only"
        raise BodyInvalid("request body", expected=expected, found=rest)
    return plain


def _decompressed(
    stream: Any, body: bytes, most: int, reserve: Callable[[int], None] | None
) -> tuple[bytes, int]:
    """Return up to `most` bytes of what is in `body`, and how many bytes of it were not needed.

    In pieces, and put together without one more copy, so that other threads have their turn in between.
    """
    plain, rest, at = io.BytesIO(), b"", 0
    while plain.tell() < most and not stream.eof and (rest or at < len(body)):
        if not rest:
            rest, at = body[at : at + _FED_BYTES], at + _FED_BYTES
        piece = min(_PIECE_BYTES, most - plain.tell())
        if reserve is not None and (plain.tell() or len(body) >= COUNTED_BYTES):
            reserve(piece)
        plain.write(stream.decompress(rest, piece))
        rest = stream.unconsumed_tail
    return plain.getvalue(), len(stream.unused_data) + max(0, len(body) - at)


def too_large(max_bytes: int, size: str) -> BodyTooLarge:
    """Return the error of a body that has more than `max_bytes`."""
    hint = "send fewer rows at a time, or raise `max_body_bytes`"
    return BodyTooLarge("request body", expected=f"at most {max_bytes} bytes", found=size, hint=hint)
