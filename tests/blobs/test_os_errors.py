"""Errors of the operating system become errors of lading, with a hint."""

from __future__ import annotations

import errno
import os

import pytest

from lading.blobs.os_errors import destination_errors, registry_errors
from lading.errors import RegistryUnavailable, UsageError


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "run as a user who may read and write it"),
        (errno.EROFS, "it can be read and served from"),
        (errno.ENOSPC, "free some space, for example with `lading gc`"),
    ],
)
def test_an_error_in_a_registry_names_it_its_path_and_what_to_do(number, hint):
    with pytest.raises(RegistryUnavailable) as caught, registry_errors("/r"):
        raise OSError(number, "Some Words", "/r/blobs")
    words = os.strerror(number).lower()
    expected = f"registry `/r`: expected to read and write it, found {words} at `/r/blobs`"
    assert caught.value.message == expected
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, UsageError), (errno.ENOSPC, RegistryUnavailable)]
)
def test_an_error_where_a_user_wants_to_write_is_theirs_unless_the_disk_is_full(number, kind):
    where = "pull of `iris:1` to `/x`"
    with pytest.raises(kind, match=f"{where}: expected a place to write"), destination_errors(where):
        raise OSError(number, "some words", "/x")
