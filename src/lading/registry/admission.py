"""Who may do what with the versions of a registry, by the trust policy that is set, if one is.

Judges nothing itself: the `Gate` does. It finds what was attested, in the catalog, or as it was known last.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lading.errors import LadingError, RegistryUnavailable
from lading.registry.gate import Gate, Place, open_gate

if TYPE_CHECKING:
    from lading.bundle import Bundle, Manifest
    from lading.registry.attachments import Attachments
    from lading.registry.offline import LastKnown
    from lading.registry.records import ModelVersion

log = logging.getLogger("lading.registry")


class Admission:
    """Lets bundles in by the policy in the file `policy`, everything without one."""

    def __init__(
        self,
        policy: str,
        attachments: Attachments,
        manifest_of: Callable[[ModelVersion], Manifest],
        last_known: LastKnown,
    ) -> None:
        self._policy = policy
        self._attachments = attachments
        self._manifest_of = manifest_of
        self._last_known = last_known
        self._gate: Gate | None = None
        self._opening = threading.Lock()

    @property
    def gate(self) -> Gate | None:
        """The gate of the policy, or None without one; read when it is first needed.

        Raises `InvalidSetting` and `KeyInvalid`.
        """
        # Later than the start: most commands let nothing in, and need no cryptography.
        with self._opening:
            if self._gate is None:
                self._gate = open_gate(self._policy)
            return self._gate

    def attested(self, digest: str) -> list[str]:
        """Return what was attested about a bundle; while the catalog is unreachable, as it was known before.

        What was signed needs no trust in where it is kept.
        """
        try:
            texts = [row.body for row in self._attachments.of(digest, "attestation")]
        except RegistryUnavailable as error:
            known = self._last_known.attestations(digest)
            if known is None:
                raise
            log.warning("what is attested about `%s` is as it was known before: %s", digest, error.message)
            return known
        self._last_known.keep_attestations(digest, texts)
        return texts

    def check(self, place: Place, version: ModelVersion) -> tuple[str, ...]:
        """Return who vouches for a version, nobody without a policy. Raises what keeps it out."""
        if self.gate is None:
            return ()
        return self.gate.check(
            place, self._manifest_of(version), version.digest, self.attested(version.digest)
        )

    def check_bundle(self, place: Place, bundle: Bundle, texts: Sequence[str] = ()) -> tuple[str, ...]:
        """Return who vouches for a bundle, by `texts` and by what the catalog has. Raises as `check`."""
        if self.gate is None:
            return ()
        known = [*texts, *(text for text in self.attested(bundle.digest) if text not in texts)]
        return self.gate.check(place, bundle.manifest, bundle.digest, known)

    def objection(self, place: Place, version: ModelVersion) -> str:
        """Return why the policy would keep a version out, empty if it would not; raises nothing."""
        try:
            self.check(place, version)
        except LadingError as error:
            return error.message
        return ""
