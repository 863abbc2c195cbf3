"""What an image states about its bundles and runtime, in labels and in annotations of its manifest."""

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
    """What an image states about a bundle in it. ``version`` is 0 for a bundle from a directory."""

    name: str
    version: int
    digest: str
    blob: str
    purpose: str
    owner: str
    description: str = ""


def bundle_labels(bundles: Sequence[BundleEntry], base: str) -> dict[str, str]:
    """Return the labels that describe the bundles of an image: all in JSON, the first in plain labels too."""
    if not bundles:
        return {}
    # Most images hold one bundle, and most tools show labels but parse none.
    first = bundles[0]
    labels = {
        _OCI + "title": ", ".join(f"{entry.name} {entry.version or ''}".strip() for entry in bundles),
        _OCI + "version": str(first.version or first.digest),
        _OCI + "description": first.description,
        _OCI + "authors": ", ".join(dict.fromkeys(entry.owner for entry in bundles)),
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
    """Return the bundles that a configuration lists; none if it lists none that can be read."""
    labels = (config.get("config") or {}).get("Labels") or {}
    return bundles_of(labels)


def bundles_of(labels: dict[str, str]) -> list[BundleEntry]:
    """Return the bundles that labels or annotations list; none if they list none that can be read."""
    try:
        return msgspec.json.decode(labels.get(BUNDLES, "[]"), type=list[BundleEntry])
    except ValueError:  # Anyone can write a label of that name.
        return []
