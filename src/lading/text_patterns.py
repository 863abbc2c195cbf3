"""Regular expressions that take linear time, whatever the pattern and the text: those of the library RE2.

Python's own go back and try again, and a few characters of a hostile text keep them busy for years. RE2
follows all ways through a pattern at once, and refuses what cannot be done so: back-references and
look-around. Searches in no text: all of it matches, or it does not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from lading.errors import InvalidSetting, missing_extra

LONGEST_TEXT = 1000
"""Characters of a text that may match; a longer one does not, and is not read."""

LONGEST_PATTERN = 1000
_HINT = "patterns are those of RE2 (github.com/google/re2/wiki/Syntax): no back-references, no look-around"


class Pattern:
    """A compiled pattern; threads may share it."""

    def __init__(self, text: str) -> None:
        """Compile `text`; raises `InvalidSetting` for what RE2 refuses, `ExtraMissing` without it."""
        self.text = text
        self._compiled = _compile(text)

    def matches(self, text: str) -> bool:
        """Return whether the whole of `text` matches; False for one beyond `LONGEST_TEXT`."""
        if len(text) > LONGEST_TEXT:
            return False
        try:
            return self._compiled.fullmatch(text) is not None
        except UnicodeEncodeError:
            # Half of a surrogate pair, as JSON may escape it, is no character, and RE2 reads UTF-8.
            return False


@lru_cache(maxsize=1024)
def compiled(text: str) -> Pattern:
    """Return the pattern `text`, compiled once; raises as `Pattern`."""
    return Pattern(text)


def _compile(text: str) -> Any:
    if len(text) > LONGEST_PATTERN:
        raise _refused(text[:40], f"at most {LONGEST_PATTERN} characters", str(len(text)))
    try:
        # Imported here: most models state no pattern, and reading a bundle needs no library for those it has.
        import re2
    except ImportError as error:
        raise missing_extra(f"pattern `{text[:80]}`", "serve", error) from None
    options = re2.Options()
    options.never_capture = True
    # Otherwise RE2 writes what it refuses to stderr, beside our own log.
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        raise _refused(text, "a regular expression", _text(reason)) from None
    except UnicodeEncodeError:
        raise _refused(ascii(text), "characters of Unicode", "half of a surrogate pair") from None


def _text(reason: object) -> str:
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def _refused(text: str, expected: str, actual: str) -> InvalidSetting:
    return InvalidSetting(f"pattern `{text[:80]}`", expected=expected, found=actual[:200], hint=_HINT)
