"""Names, versions, tags and digests: references to a model. Resolves nothing; a registry does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lading.errors import InvalidName, InvalidReference

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_GRAMMAR = "`iris`, `iris:3`, `iris:live` or `iris@sha256:…`"

# Tags that only a release moves.
RELEASE_TAGS = frozenset({"live", "candidate"})


@dataclass(frozen=True, slots=True)
class Ref:
    """A model reference: a name and at most one of version, tag and digest."""

    name: str
    version: int | None = None
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read ``iris``, ``iris:3``, ``iris:live`` or ``iris@sha256:…``.

        Raises `InvalidReference`.
        """
        name, at, digest = text.partition("@")
        if at:
            if not _DIGEST.fullmatch(digest):
                raise _invalid(text, f"`{digest}` after the `@`")
            return cls(_valid_name(text, name), digest=digest)
        name, colon, rest = text.partition(":")
        name = _valid_name(text, name)
        if not colon:
            return cls(name)
        if rest.isascii() and rest.isdigit():
            if rest[0] == "0" or len(rest) > 18:  # 18 digits always fit the catalog's 64-bit column.
                raise _invalid(text, f"version `{rest}`; versions count 1, 2, 3 …")
            return cls(name, version=int(rest))
        if not _NAME.fullmatch(rest):
            raise _invalid(text, f"`{rest}` after the `:`")
        return cls(name, tag=rest)

    def __str__(self) -> str:
        if self.digest is not None:
            return f"{self.name}@{self.digest}"
        pin = self.version if self.version is not None else self.tag
        return self.name if pin is None else f"{self.name}:{pin}"


def version_number(text: str) -> int | None:
    """Return the version that a request writes as `text`, or None if it is no number; 0 means unnumbered."""
    # Python refuses to read integers of thousands of digits, and no version has twenty.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def check_name(name: str, subject: str = "model name") -> str:
    """Return `name` if it fits ``[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?``, else raise `InvalidName`."""
    if not _NAME.fullmatch(name):
        raise InvalidName(
            subject,
            expected="`[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?`",
            found=f"`{name}`",
            hint="lower-case letters, digits, `.`, `_`, `-`; 63 characters at most",
        )
    return name


def check_tag(tag: str) -> str:
    """Return `tag` if it is a name but no number, which would be a version, else raise `InvalidName`."""
    if tag.isdigit():
        raise InvalidName("tag", expected="a name", found=f"`{tag}`", hint="a number is a version")
    return check_name(tag, "tag")


def is_digest(text: str) -> bool:
    """Return whether `text` is ``sha256:`` and 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def _valid_name(text: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise _invalid(text, f"the name `{name}`")
    return name


def _invalid(text: str, problem: str) -> InvalidReference:
    return InvalidReference(f"reference `{text}`", expected=_GRAMMAR, found=problem)
