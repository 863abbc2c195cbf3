"""How a command ends: the table from errors to exit codes, and the sentence on stderr.

Never shows a traceback unless `LADING_DEBUG` asks for one.
"""

from __future__ import annotations

import os
import re
import sys
import traceback

import click

from lading import errors
from lading.cli.ui import printing
from lading.errors import LadingError, RemoteError, mid_sentence

DONE, REFUSED, USAGE_ERROR, NOT_FOUND, UNAVAILABLE, STALE = 0, 1, 2, 3, 4, 5
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell reports for a program that SIGPIPE ended."""

EXIT: dict[type[LadingError], int] = {
    errors.UsageError: USAGE_ERROR,
    errors.BundleError: REFUSED,
    errors.FeedError: REFUSED,
    # A code of its own: a nightly run has to fetch the feed again, and nothing else is wrong.
    errors.FeedStale: STALE,
    errors.ImageInvalid: REFUSED,
    errors.ConversionError: REFUSED,
    errors.VerificationError: REFUSED,
    errors.InputError: REFUSED,
    errors.NotFound: NOT_FOUND,
    errors.MethodRefused: REFUSED,
    errors.MediaTypeRefused: REFUSED,
    errors.AnswerTypeRefused: REFUSED,
    errors.AccessError: REFUSED,
    errors.OriginRefused: REFUSED,
    errors.NotSupported: REFUSED,
    errors.BodyTooLarge: REFUSED,
    errors.TooManyRows: REFUSED,
    errors.RunTooLarge: REFUSED,
    errors.RequestTooLarge: REFUSED,
    errors.AnswerTooLarge: REFUSED,
    errors.ServerBusy: UNAVAILABLE,
    errors.QueueFull: UNAVAILABLE,
    errors.RateExceeded: UNAVAILABLE,
    errors.MemoryShort: UNAVAILABLE,
    errors.AttachmentTooLarge: REFUSED,
    errors.DeadlineExceeded: UNAVAILABLE,
    errors.ConflictError: REFUSED,
    errors.UnavailableError: UNAVAILABLE,
    # Waiting does not help, and who reads the code waits.
    errors.CatalogTooNew: REFUSED,
    errors.RemoteError: REFUSED,
    errors.RunError: REFUSED,
}
"""Exit code by error; a class that is not listed has the code of its nearest listed base class."""

# The parts of click's messages that are rewritten (click/exceptions.py, click/types.py).
_QUOTED = re.compile(r"'([^']*)'")
_NUMBERS = {"integer": "whole number", "float": "number"}
_NUMBER = re.compile(r"a valid (integer|float)( range)?\b")
_RANGE = re.compile(r"'?([^\s']+)'? is not in the range (?:(\S+)<=)?x(?:(<=|>=)(\S+?))?(?=\.?$)")
_ARGUMENTS = re.compile(r"'\[([^'\]]+)\](?:\.\.\.)?'")
_CHOICES = re.compile(r"\. Choose from:\s*([^.]*)")
# HTTP statuses of a server that have an exit code of their own; any other one is a refusal.
_REMOTE = {404: NOT_FOUND, 429: UNAVAILABLE, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: UNAVAILABLE}

MEANING = {
    DONE: "done",
    REFUSED: "refused: a check, a gate or a rule failed",
    USAGE_ERROR: "usage error: nothing was done; also a file that does not exist",
    NOT_FOUND: "not found: no such model, version, tag or label",
    UNAVAILABLE: "unavailable: the server, registry or disk did not respond; retrying later may help",
    STALE: "stale: a feed of vulnerabilities is older than `--max-age`",
    INTERNAL_ERROR: "a bug in lading; `LADING_DEBUG=1` shows the traceback",
    INTERRUPTED: "interrupted (Ctrl-C)",
    BROKEN_PIPE: "the reader of stdout closed it",
}
"""What each exit code means, as the reference prints it."""


class HintedUsageError(click.UsageError):
    """A usage error with a hint of its own in place of ``see `lading … --help` ``."""

    def __init__(self, message: str, hint: str | None, ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


def exit_code(error: LadingError) -> int:
    """Return the exit code of `error`; that of a server's answer depends on its HTTP status."""
    if isinstance(error, RemoteError) and error.status in _REMOTE:
        return _REMOTE[error.status]
    return errors.nearest(EXIT, error)


def report(error: BaseException, *, debug: bool) -> int:
    """Print what went wrong on stderr and return the exit code."""
    match error:
        # What `ctx.exit` raises: the command has printed already what there was to say.
        case click.exceptions.Exit():
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return INTERRUPTED
        case click.ClickException():
            printing.error(_sentence(error), _usage_hint(error))
            return error.exit_code
    # Errors of the command line have no traceback worth showing; those of lading may.
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    match error:
        case LadingError():
            printing.error(error.message, error.hint)
            return exit_code(error)
        case UnicodeEncodeError() if error.reason == "surrogates not allowed":
            # How Python passes on an argument or a file name whose bytes are not UTF-8.
            printing.error(f"`{error.object}`: expected UTF-8, found another byte", None)
            return USAGE_ERROR
        case OSError() if error.strerror:
            where = f"`{error.filename}`: " if error.filename else ""
            printing.error(where + mid_sentence(error.strerror), None)
            return UNAVAILABLE
    detail = f": {error}" if str(error) else ""
    hint = None if debug else "this is a bug in lading; set `LADING_DEBUG=1` to see the traceback"
    printing.error(f"unexpected {type(error).__name__}{detail}", hint)
    return INTERNAL_ERROR


def broken_pipe() -> int:
    """Point stdout at /dev/null and return the exit code.

    Python flushes stdout once more when it exits; into the closed pipe, that would print a second error.
    """
    # The recipe of Python's documentation (library/signal, "Note on SIGPIPE").
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return BROKEN_PIPE


def did_you_mean(nearest: list[str]) -> str | None:
    """Return a hint that suggests the nearest words, or None without any."""
    return "did you mean " + " or ".join(f"`{word}`" for word in nearest) + "?" if nearest else None


def _usage_hint(error: click.ClickException) -> str | None:
    if isinstance(error, HintedUsageError) and error.hint:
        return error.hint
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        return did_you_mean(list(error.possibilities))
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path} --help`" if context is not None else None


def _sentence(error: click.ClickException) -> str:
    """Return click's sentence in lading's grammar: values in backticks, its suggestion left to the hint."""
    if isinstance(error, click.NoSuchOption):
        return f"no such option `{error.option_name}`"
    # click: "Invalid value for '--port': 'x' is not a valid integer." and ". Choose from: a, b".
    plain = _NUMBER.sub(lambda match: f"a {_NUMBERS[match[1]]}", error.format_message())
    plain = _ARGUMENTS.sub(r"'\1'", _RANGE.sub(_expected_range, plain))
    plain = _CHOICES.sub(lambda match: f", one of {_quoted_choices(match[1])}", plain)
    where, colon, detail = plain.strip().removesuffix(".").partition(": ")
    return _QUOTED.sub(r"`\1`", mid_sentence(where) + colon + mid_sentence(detail))


def _expected_range(match: re.Match[str]) -> str:
    value, low, sign, high = match.groups()
    bound = "at least" if sign == ">=" else "at most"
    expected = f"{low} to {high}" if low is not None else f"{bound} {high}"
    return f"expected {expected}, found '{value}'"


def _quoted_choices(choices: str) -> str:
    return ", ".join(f"`{choice.strip()}`" for choice in choices.split(","))
