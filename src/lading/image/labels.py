"""What an image says of its bundles and runtime, as labels and as annotations of its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

PREFIX = "com.lading."
BUNDLES = PREFIX + "bundles"
RUNTIME = PREFIX + "runtime"
BASE_DIGEST = "org.opencontainers.image.base.digest"
_OCI = "org.opencontainers.image."


class BundleEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What an image says of a bundle in it. ``version`` is 0 for one that came from a directory."""

    name: str
    version: int
    digest: str
    blob: str
    purpose: str
    owner: str
    description: str = ""


def bundle_labels(bundles: Sequence[BundleEntry], base: str) -> dict[str, str]:
    """Say which bundles an image has, every one as JSON and the first one plainly as well."""
    if not bundles:
        return {}
    first = bundles[0]
    labels = {
        _OCI + "title": ", ".join(f"{one.name} {one.version or ''}".strip() for one in bundles),
        _OCI + "version": str(first.version or first.digest),
        _OCI + "description": first.description,
        _OCI + "authors": ", ".join(dict.fromkeys(one.owner for one in bundles)),
        BASE_DIGEST: base,
        PREFIX + "digest": first.digest,
        PREFIX + "name": first.name,
        PREFIX + "version": str(first.version or ""),
        PREFIX + "purpose": first.purpose,
        PREFIX + "owner": first.owner,
        BUNDLES: msgspec.json.encode(bundles, order="sorted").decode(),
    }
    return {name: value for name, value in labels.items() if value}


def bundles_in(config: dict[str, Any]) -> list[BundleEntry]:
    """Read which bundles a configuration says the image has; none where it says nothing readable."""
    labels = (config.get("config") or {}).get("Labels") or {}
    return bundles_of(labels)


def bundles_of(labels: dict[str, str]) -> list[BundleEntry]:
    """Read which bundles labels or annotations name; none where they say nothing readable."""
    try:
        return msgspec.json.decode(labels.get(BUNDLES, "[]"), type=list[BundleEntry])
    except ValueError:  # labels of that name are anybody's to write
        return []
