"""Format 1, of 2026: one ONNX file with its proof. Bundles that need nothing newer are still written as it.

Nothing here changes any more: a bundle of format 1 keeps its digest, and its readers.
"""

from __future__ import annotations

from collections.abc import Mapping

REQUIRED_FILES = ("model.onnx", "requirements.txt", "samples.npz")

KEYS = frozenset(
    (
        "description",
        "expected_from",
        "files",
        "format",
        "labels",
        "metrics",
        "name",
        "owner",
        "purpose",
        "runtime",
        "seal",
        "signature",
        "tolerance",
        "training",
    )
)
"""All keys of the manifest; each is required."""


def unknown_key(tree: Mapping[str, object]) -> str | None:
    """Return a key of the manifest `tree` that format 1 does not have, or None if there is none."""
    return min(tree.keys() - KEYS, default=None)
