"""The contract of a wire protocol: its routes, its bodies, its errors, over the one data plane.

Each other file here is one protocol. A protocol decodes a request into a `Job` or answers at once; it
never runs a model and never touches a socket.
"""

from __future__ import annotations

from lading import errors
from lading.errors import LadingError, mid_sentence

STATUS: dict[type[LadingError], int] = {
    errors.UsageError: 400,
    errors.BundleError: 503,
    errors.ImageInvalid: 503,
    errors.ConversionError: 500,
    errors.VerificationError: 503,
    errors.InputError: 400,
    errors.NotFound: 404,
    errors.MethodRefused: 405,
    errors.MediaTypeRefused: 415,
    errors.NotSupported: 501,
    errors.BodyTooLarge: 413,
    errors.QueueFull: 429,
    errors.MemoryShort: 503,
    errors.DeadlineExceeded: 504,
    errors.ConflictError: 409,
    errors.UnavailableError: 503,
    errors.RemoteError: 502,
    errors.RunFailed: 500,
}
"""HTTP status by error; a class that is not named has that of the nearest one above it."""


UNREADABLE = (ValueError, RecursionError)
"""What reading JSON raises that is not of the form wanted: msgspec's errors, and those of bad UTF-8."""


def unread(error: BaseException) -> str:
    """Say why a body could not be read, given what of `UNREADABLE` was raised; the middle of a sentence."""
    if isinstance(error, UnicodeDecodeError):  # Its own position is that within one text of the body.
        return f"text that is not UTF-8 (byte 0x{error.object[error.start]:02x})"
    return mid_sentence(str(error) or type(error).__name__)


def status_of(error: LadingError) -> int:
    """Return the HTTP status of `error`."""
    return errors.nearest(STATUS, error)


def error_headers(error: LadingError) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that go with `error`: ``retry-after`` or ``allow``."""
    if isinstance(error, errors.QueueFull):
        return ((b"retry-after", str(error.retry_after_s).encode()),)
    if isinstance(error, errors.UnavailableError):
        return ((b"retry-after", b"1"),)
    if isinstance(error, errors.MethodRefused):
        return ((b"allow", ", ".join(error.allowed).encode()),)
    return ()
