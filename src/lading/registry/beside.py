"""The attestations of a bundle's folder: ``NAME.attestations.jsonl`` beside it, one in each line.

Never inside: the digest of a bundle does not change when somebody signs it. Believes nothing that it reads.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from lading.errors import AttachmentTooLarge, AttestationInvalid
from lading.registry.attachments import MAX_BODY_BYTES

SUFFIX = ".attestations.jsonl"
_MOST_BYTES = 4 * MAX_BODY_BYTES


def beside(bundle: Path) -> Path:
    """Return the file for the attestations of a bundle in the folder `bundle`."""
    # Absolute: `.` has no name of its own.
    folder = bundle.absolute()
    folder = folder if folder.name not in ("", "..") else folder.resolve()
    return folder.with_name(f"{folder.name}{SUFFIX}")


def read_beside(bundle: Path) -> list[str]:
    """Return the attestations beside a bundle, none without the file.

    Raises `AttachmentTooLarge`, and `AttestationInvalid` for what is no regular file of UTF-8 lines.
    """
    path = beside(bundle)
    try:
        # Not blocking: a FIFO of this name would otherwise be waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise AttestationInvalid(f"`{path}`", expected="a file", found="a folder or a device")
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise AttestationInvalid(f"`{path}`", expected="a file that can be read", found=reason) from None
    if len(data) > _MOST_BYTES:
        raise AttachmentTooLarge(f"`{path}`", expected=f"at most {_MOST_BYTES:,} bytes", found="more")
    try:
        return [line for line in data.decode().split("\n") if line.strip()]
    except UnicodeDecodeError:
        expected = "attestations in UTF-8, one in each line"
        raise AttestationInvalid(f"`{path}`", expected=expected, found="another byte") from None


def add_beside(bundle: Path, texts: Iterable[str]) -> Path:
    """Add attestations to the file beside a bundle, those that it does not have yet; return its path."""
    path = beside(bundle)
    lines = read_beside(bundle)
    lines += [text for text in dict.fromkeys(map(one_line, texts)) if text not in lines]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text("".join(f"{line}\n" for line in lines))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def one_line(text: str) -> str:
    """Return JSON without line breaks; those within its texts are escaped already."""
    return " ".join(text.split("\n")).strip() if "\n" in text else text.strip()
