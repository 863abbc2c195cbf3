"""What an image states about its bundles and runtime, in labels and in annotations of its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

PREFIX = "com.lading."
BUNDLES = PREFIX + "bundles"
ENVIRONMENTS = PREFIX + "environments"
RUNTIME = PREFIX + "runtime"
BASE_DIGEST = "org.opencontainers.image.base.digest"
_OCI = "org.opencontainers.image."


class BundleEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What an image states about a bundle in it. ``version`` is 0 for a bundle from a directory.

    Of one that runs in Python, ``environment`` is the digest of its lock, ``python`` the version that it
    needs, and ``executes`` what loading it runs of its own: ``no``, ``code`` or ``pickle``; of others, empty.
    """

    name: str
    version: int
    digest: str
    blob: str
    purpose: str
    owner: str
    description: str = ""
    environment: str = ""
    python: str = ""
    executes: str = ""


class EnvironmentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What an image states about an environment in it: the digest of its lock, its Python, and its layer."""

    lock: str
    python: str
    blob: str


_OF_PYTHON = ("environment", "python", "executes")


def bundle_labels(
    bundles: Sequence[BundleEntry], base: str, environments: Sequence[EnvironmentEntry] = ()
) -> dict[str, str]:
    """Return the labels that describe the bundles of an image: all in JSON, the first in plain labels too.

    Those of an image without environments are what they were before images had any.
    """
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
        BUNDLES: msgspec.json.encode([_stated(entry) for entry in bundles], order="sorted").decode(),
        ENVIRONMENTS: msgspec.json.encode(environments, order="sorted").decode() if environments else "",
    }
    return {name: value for name, value in labels.items() if value}


def _stated(entry: BundleEntry) -> dict[str, Any]:
    fields = msgspec.structs.asdict(entry)
    return {name: value for name, value in fields.items() if value or name not in _OF_PYTHON}


def environments_in(config: dict[str, Any]) -> list[EnvironmentEntry]:
    """Return the environments that a configuration lists; none if it lists none that can be read."""
    labels = (config.get("config") or {}).get("Labels") or {}
    try:
        return msgspec.json.decode(labels.get(ENVIRONMENTS, "[]"), type=list[EnvironmentEntry])
    except ValueError:  # Anyone can write a label of that name.
        return []


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
