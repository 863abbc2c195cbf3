"""Turns errors of the operating system into errors of lading, with a hint. Retries nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lading.errors import RegistryReadOnly, RegistryUnavailable, UsageError

_READ_ONLY_HINT = "it can be read and served from; change it where it is writable, or name another registry"
_HINTS = {
    errno.ENOENT: "was it moved or removed while in use?",
    errno.EEXIST: "name a folder with `LADING_REGISTRY` or `--registry`",
    errno.ENOTDIR: "name a folder with `LADING_REGISTRY` or `--registry`",
    errno.EACCES: "run as a user who may read and write it, or name another with `LADING_REGISTRY`",
    errno.EPERM: "run as a user who may read and write it, or name another with `LADING_REGISTRY`",
    errno.EROFS: _READ_ONLY_HINT,
    errno.ENOSPC: "free some space, for example with `lading gc`",
    errno.EDQUOT: "free some space, for example with `lading gc`",
}
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def registry_errors(where: str, hints: Mapping[int, str] | None = None) -> Iterator[None]:
    """Raise `RegistryUnavailable` for any `OSError`; it names `where`. `hints` are by number of the error."""
    try:
        yield
    except OSError as error:
        failure = unavailable(where, error)
        hint = (hints or {}).get(error.errno or 0)
        raise (failure.with_hint(hint) if hint is not None else failure) from error


@contextmanager
def destination_errors(where: str) -> Iterator[None]:
    """Raise `UsageError` for an `OSError` at a place that a user named.

    For a full disk, which may have room later, `RegistryUnavailable`.
    """
    try:
        yield
    except OSError as error:
        expected = "a place to write"
        if error.errno in _FULL:
            hint = "free some space there, or name another place"
            raise RegistryUnavailable(where, expected=expected, found=_text(error), hint=hint) from error
        raise UsageError(where, expected=expected, found=_text(error)) from error


def read_only(where: str) -> RegistryReadOnly:
    """Return the error for what would write to the registry at `where`, which can be read alone."""
    return RegistryReadOnly(
        f"registry `{where}`", expected="a folder to write to", found="a read-only one", hint=_READ_ONLY_HINT
    )


def unavailable(where: str, error: OSError) -> RegistryUnavailable:
    """Return the error for an `OSError` in the registry at `where`."""
    hint = _HINTS.get(error.errno) if error.errno is not None else None
    return RegistryUnavailable(
        f"registry `{where}`", expected="to read and write it", found=_text(error), hint=hint
    )


def _text(error: OSError) -> str:
    # By its number: "No space left on device", where Arrow puts a sentence of its own around it.
    text = (os.strerror(error.errno) if error.errno else error.strerror or str(error)).lower()
    return f"{text} at `{error.filename}`" if error.filename else text
