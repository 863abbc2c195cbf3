"""Where a bundle is packed to: a place that does not exist yet, or a bundle that is to be replaced.

A bundle is replaced only once the new one is written and holds; nothing but a bundle is ever replaced.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

from lading.bundle import MANIFEST_FILE, Bundle
from lading.errors import DestinationExists


def writing_place(dest: Path, *, overwrite: bool) -> Path:
    """Return where to write the bundle for `dest`: there, or beside the one that it replaces.

    Raises `DestinationExists` before the long part begins, not after it.
    """
    if not os.path.lexists(dest):
        return dest
    if overwrite and not dest.is_symlink() and (dest / MANIFEST_FILE).is_file():
        return dest.with_name(f".{dest.name[:64]}.{secrets.token_hex(4)}.new")
    expected, actual = "nothing there yet", "a file or directory"
    hint = "`--overwrite` (`overwrite=True` in Python) replaces a bundle; `-o` (`to=`) names another place"
    if overwrite:
        expected, actual = "nothing there yet, or a bundle", "something that is no bundle"
        hint = "remove it, or name another with `-o` (`to=` in Python)"
    raise DestinationExists(f"`{dest}`", expected=expected, found=actual, hint=hint)


def move_into_place(bundle: Bundle, dest: Path) -> Bundle:
    """Return the bundle at `dest`, in place of the one that it replaces."""
    if bundle.path == dest:
        return bundle
    aside = bundle.path.with_suffix(".old")
    dest.rename(aside)
    try:
        bundle.path.rename(dest)
    except BaseException:
        aside.rename(dest)
        raise
    shutil.rmtree(aside)
    return replace(bundle, path=dest)
