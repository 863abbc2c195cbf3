"""``profile.json``: statistics of columns, by the rules of the format. Measures nothing."""

from __future__ import annotations

import msgspec

from lading.bundle.manifest import PROFILE_FILE, parse_object, size_limit, too_large
from lading.errors import ManifestInvalid, UnknownKey
from lading.profile import Profile
from lading.profile.encoding import broken_rules, encode
from lading.signature import Signature


def read_profile(data: bytes, signature: Signature) -> Profile:
    """Read the bytes of ``profile.json`` and check every rule on it.

    Raises `ManifestInvalid`, `DuplicateEntry`, `UnknownKey`, `TooLarge`.
    """
    if len(data) > size_limit(PROFILE_FILE):
        raise too_large(PROFILE_FILE, len(data), size_limit(PROFILE_FILE))
    tree = parse_object(data, PROFILE_FILE)
    try:
        profile = msgspec.convert(tree, Profile, strict=True)
    except (msgspec.ValidationError, OverflowError) as error:
        sentence, _, path = str(error).partition(" - at ")
        where = _at(path.strip("`") or "$")
        # msgspec has one exception class for everything, so its text decides.
        if sentence.startswith("Object contains unknown field"):
            key = sentence.removeprefix("Object contains unknown field ")
            raise UnknownKey(where, expected="only keys of the format", found=key[:80]) from None
        raise ManifestInvalid(f"{where}: {sentence}") from None
    for path, expected, actual in broken_rules(profile, signature):
        raise ManifestInvalid(_at(path), expected=expected, found=actual)
    # Last: infinities, which the rules refuse, have no JSON.
    if encode(profile) != data:
        raise ManifestInvalid(
            f"`{PROFILE_FILE}`", expected="canonical JSON", found="the same content in other bytes"
        )
    return profile


def _at(path: str) -> str:
    return f"`{PROFILE_FILE}` at `{path}`"
