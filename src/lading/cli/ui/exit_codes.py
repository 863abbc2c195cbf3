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

DONE, REFUSED, WRONG_USE, NOT_FOUND, UNAVAILABLE = 0, 1, 2, 3, 4
DEFECT = 70
INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell reports for a program that SIGPIPE ended."""

EXIT: dict[type[LadingError], int] = {
    errors.UsageError: WRONG_USE,
    errors.BundleError: REFUSED,
    errors.ImageInvalid: REFUSED,
    errors.ConversionError: REFUSED,
    errors.VerificationError: REFUSED,
    errors.InputError: REFUSED,
    errors.NotFound: NOT_FOUND,
    errors.MethodRefused: REFUSED,
    errors.MediaTypeRefused: REFUSED,
    errors.NotSupported: REFUSED,
    errors.BodyTooLarge: REFUSED,
    errors.QueueFull: UNAVAILABLE,
    errors.MemoryShort: UNAVAILABLE,
    errors.DeadlineExceeded: UNAVAILABLE,
    errors.ConflictError: REFUSED,
    errors.UnavailableError: UNAVAILABLE,
    errors.RemoteError: REFUSED,
    errors.RunFailed: REFUSED,
}
"""Exit code by error; a class that is not named has that of the nearest one above it."""

_QUOTED = re.compile(r"'([^']*)'")
_NUMBERS = {"integer": "whole number", "float": "number"}
_NUMBER = re.compile(r"a valid (integer|float)( range)?\b")
_CHOICES = re.compile(r"\. Choose from:\s*([^.]*)")
_REMOTE = {404: NOT_FOUND, 429: UNAVAILABLE, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: UNAVAILABLE}

MEANING = {
    DONE: "done",
    REFUSED: "refused: a check, a gate or a rule did not hold",
    WRONG_USE: "wrong use: nothing was tried; also a file that is not there",
    NOT_FOUND: "not found: no such model, version, tag or label",
    UNAVAILABLE: "unavailable: the server, registry or disk does not answer; may work later",
    DEFECT: "a defect of lading; `LADING_DEBUG=1` shows the traceback",
    INTERRUPTED: "interrupted (Ctrl-C)",
    BROKEN_PIPE: "the reader of stdout went away",
}
"""What each exit code means, as the reference prints it."""


class WrongUse(click.UsageError):
    """Wrong use of the command line, with a hint of its own."""

    def __init__(self, message: str, hint: str | None, ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


def exit_code(error: LadingError) -> int:
    """Return the exit code of `error`; what a server answered counts by its status."""
    if isinstance(error, RemoteError) and error.status in _REMOTE:
        return _REMOTE[error.status]
    return errors.nearest(EXIT, error)


def report(error: BaseException, *, debug: bool) -> int:
    """Say on stderr what went wrong and give the exit code."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return INTERRUPTED
        case click.ClickException():
            printing.error(_sentence(error), _usage_hint(error))
            return error.exit_code
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    match error:
        case LadingError():
            printing.error(error.message, error.hint)
            return exit_code(error)
        case OSError() if error.strerror:
            place = f"`{error.filename}`: " if error.filename else ""
            printing.error(place + mid_sentence(error.strerror), None)
            return UNAVAILABLE
    shown = (
        f"unexpected {type(error).__name__}: {error}" if str(error) else f"unexpected {type(error).__name__}"
    )
    printing.error(shown, None if debug else "a defect of lading; set `LADING_DEBUG=1` to see the traceback")
    return DEFECT


def broken_pipe() -> int:
    """Return stdout away, so that Python's own flush at the end stays quiet, and give the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return BROKEN_PIPE


def did_you_mean(nearest: list[str]) -> str | None:
    """Make a hint of the nearest words, or None."""
    return "did you mean " + " or ".join(f"`{word}`" for word in nearest) + "?" if nearest else None


def _usage_hint(error: click.ClickException) -> str | None:
    if isinstance(error, WrongUse) and error.hint:
        return error.hint
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        return did_you_mean(list(error.possibilities))
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path} --help`" if context is not None else None


def _sentence(error: click.ClickException) -> str:
    """Write click's sentence as one of lading's: values in backticks; its suggestion is the hint."""
    if isinstance(error, click.NoSuchOption):
        return f"no such option `{error.option_name}`"
    plain = _NUMBER.sub(lambda found: f"a {_NUMBERS[found[1]]}", error.format_message())
    plain = _CHOICES.sub(lambda found: f", one of {_listed(found[1])}", plain)
    where, colon, what = plain.strip().removesuffix(".").partition(": ")
    return _QUOTED.sub(r"`\1`", mid_sentence(where) + colon + mid_sentence(what))


def _listed(choices: str) -> str:
    return ", ".join(f"`{choice.strip()}`" for choice in choices.split(","))
