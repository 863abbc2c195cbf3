"""Parses the URLs of registries and stores, and hides their secrets in messages. Opens nothing."""

from __future__ import annotations

import re
from pathlib import Path

from lading.errors import InvalidSetting

# Parameters of libpq that no message shows.
SECRETS = frozenset({"password", "passfile", "sslpassword"})
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)
_PARAMETER = re.compile(rf"([?&](?:{'|'.join(sorted(SECRETS))})=)[^&]*", re.IGNORECASE)
_DATABASES = ("postgresql://", "postgres://")


def is_database(url: str) -> bool:
    """Return whether a registry's URL names a database, and not a folder."""
    return url.startswith(_DATABASES)


def registry_folder(url: str) -> Path:
    """Return the folder of a registry. Raises `InvalidSetting` for any other URL."""
    return _folder(url, "registry", "a folder or postgresql://…")


def store_folder(url: str) -> Path:
    """Return the folder of a store. Raises `InvalidSetting` for any other URL."""
    return _folder(url, "store", "a folder, oci://… or s3://…")


def oci_repository(url: str) -> tuple[str, str]:
    """Return host and repository of ``oci://host/repository``. Raises `InvalidSetting` if it names a user."""
    if "@" in url:
        raise _user_refused(url, "oci://host/repository", "`docker login` says who you are")
    host, _, name = url.removeprefix("oci://").partition("/")
    return host, name.strip("/")


def s3_bucket(url: str) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``. Raises `InvalidSetting` if it names a user."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    # A prefix may hold an `@`, unless a password with a slash in it was cut in two.
    if "@" in bucket or (":" in bucket and "@" in prefix):
        raise _user_refused(url, "s3://bucket/prefix", "set `AWS_ACCESS_KEY_ID` and so on, or a profile")
    return bucket, prefix.strip("/")


def without_secrets(url: str) -> str:
    """Return what a message may show of a URL, however it is written: neither users nor passwords."""
    # A password that was not escaped may hold any character: up to the last `@` nothing is shown.
    return _USER.sub(r"\1***@", _PARAMETER.sub(r"\1***", url))


def _folder(url: str, name: str, expected: str) -> Path:
    if "://" in url:
        raise InvalidSetting(name, expected=expected, found=f"`{without_secrets(url)}`")
    try:
        url.encode()
    except UnicodeEncodeError:
        # A file system may have such names, but neither JSON nor a message of an error can hold one.
        raise InvalidSetting(name, expected="a folder with a name in UTF-8", found=ascii(url)) from None
    return Path(url).expanduser().absolute()


def _user_refused(url: str, expected: str, hint: str) -> InvalidSetting:
    return InvalidSetting("store", expected=f"`{expected}`", found=f"`{without_secrets(url)}`", hint=hint)
