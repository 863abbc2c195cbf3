"""The contract of what lets bundles in: at a push, a load, an image build, a release, or a batch run.

Implemented by ``trust.gate``, above this part of lading, and loaded by its name if a policy is set: so every
way into a registry goes past it, from Python as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Protocol, cast

from lading.registry.beside import read_beside

if TYPE_CHECKING:
    from lading.bundle import Bundle, Manifest

Place = Literal["push", "load", "image", "release", "batch"]


class Gate(Protocol):
    """Lets bundles in by a policy that is read again whenever its file changes."""

    @property
    def path(self) -> str:
        """The file of the policy."""

    @property
    def digest(self) -> str:
        """The digest of the policy that holds now."""

    def reload(self) -> bool:
        """Read the policy again; return whether it is another one now."""

    def check(
        self, place: Place, manifest: Manifest, digest: str, attestations: Iterable[str]
    ) -> tuple[str, ...]:
        """Return the names of those who vouch for a bundle. Raises the `TrustError` that keeps it out."""


def admit_folder(place: Place, bundle: Bundle, policy: str) -> tuple[str, ...]:
    """Return who vouches for a bundle in a folder, by what is attested beside it; nobody without a policy.

    Raises the `TrustError` that keeps it out.
    """
    gate = open_gate(policy)
    if gate is None:
        return ()
    # Beside the folder and not in it: the digest covers every file of a bundle.
    return gate.check(place, bundle.manifest, bundle.digest, read_beside(bundle.path))


def open_gate(path: str) -> Gate | None:
    """Return the gate of the policy in a file, or None without a file. Raises `InvalidSetting`."""
    if not path:
        return None
    # By its name: what is imported here may not know it.
    return cast("Gate", importlib.import_module("lading.trust.gate").PolicyGate(path))
