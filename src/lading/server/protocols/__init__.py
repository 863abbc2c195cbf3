"""The contract of a wire protocol: its routes, its bodies, its errors, over the one data plane.

Each other file or folder here is one protocol. A protocol decodes a request into a `Job` or answers
immediately; it never runs a model and never touches a socket.
"""

from __future__ import annotations

from typing import Any

from lading import errors
from lading.errors import LadingError, mid_sentence
from lading.server.http.messages import Response, json_response

STATUS: dict[type[LadingError], int] = {
    errors.UsageError: 400,
    errors.BundleError: 503,
    errors.FeedError: 409,
    errors.ImageInvalid: 503,
    errors.ConversionError: 500,
    errors.VerificationError: 503,
    errors.InputError: 400,
    errors.CheckFailed: 422,
    errors.NotFound: 404,
    errors.MethodRefused: 405,
    errors.MediaTypeRefused: 415,
    errors.AnswerTypeRefused: 406,
    errors.CallerUnknown: 401,
    errors.AccessError: 403,
    errors.OriginRefused: 403,
    errors.NotSupported: 501,
    errors.BodyTooLarge: 413,
    errors.TooManyRows: 413,
    errors.RunTooLarge: 413,
    errors.RequestTooLarge: 413,
    errors.AnswerTooLarge: 413,
    errors.QueueFull: 429,
    errors.RateExceeded: 429,
    errors.ServerBusy: 503,
    errors.MemoryShort: 503,
    errors.AttachmentTooLarge: 413,
    errors.DeadlineExceeded: 504,
    errors.ConflictError: 409,
    errors.JobKeyReused: 422,
    errors.UnavailableError: 503,
    errors.RemoteError: 502,
    errors.RunError: 500,
}
"""HTTP status by error; a class without an entry has that of the nearest class above it."""

# msgspec and json raise ValueErrors, which bad UTF-8 is too; deep nesting raises RecursionError.
DECODE_ERRORS = (ValueError, RecursionError)
"""The exceptions of a decoder for a body that is not the JSON it expects."""


def decode_error_text(error: BaseException) -> str:
    """Return why a body could not be decoded, as the middle of a sentence; `error` is of `DECODE_ERRORS`."""
    if isinstance(error, UnicodeDecodeError):
        # The position in the error counts from the start of one string, not of the body: it would mislead.
        return f"text that is not UTF-8 (byte 0x{error.object[error.start]:02x})"
    return mid_sentence(str(error) or type(error).__name__)


def status_of(error: LadingError) -> int:
    """Return the HTTP status of `error`."""
    return errors.nearest(STATUS, error)


def error_response(error: LadingError, body: Any, status: int | None = None) -> Response:
    """Return the JSON answer to `error`, with its headers; `status` where a protocol has one of its own."""
    response = json_response(body, status_of(error) if status is None else status)
    response.headers = _headers(error)
    return response


def _headers(error: LadingError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, errors.QueueFull | errors.RateExceeded):
        return ((b"retry-after", str(error.retry_after_s).encode()),)
    if isinstance(error, errors.UnavailableError | errors.ServerBusy):
        return ((b"retry-after", b"1"),)
    if isinstance(error, errors.CallerUnknown):
        return ((b"www-authenticate", b'Bearer realm="lading"'),)  # RFC 9110, 15.5.2: a 401 must have it.
    if isinstance(error, errors.MethodRefused):
        return ((b"allow", ", ".join(error.allowed).encode()),)  # RFC 9110, 15.5.6: a 405 must have it.
    return ()
