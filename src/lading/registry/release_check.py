"""What must be true of a version before it is released: it was proved, and callers of what is live go on.

Runs no model: the evidence is in the catalog, and of a bundle only the manifest is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lading.errors import BlobNotFound, BundleError, SignatureChanged, VerificationError

if TYPE_CHECKING:
    from lading.bundle import Manifest
    from lading.bundle.difference import Difference
    from lading.evidence import Evidence
    from lading.registry.catalog import Catalog
    from lading.registry.records import ModelVersion

_MOST_SHOWN = 3


class ReleaseCheck(Protocol):
    """Decides whether a version may be released."""

    def proof(self, version: ModelVersion) -> Evidence | None:
        """Return the newest evidence that the version holds. Raises `VerificationError` if there is none."""

    def compare(self, version: ModelVersion, live: ModelVersion, *, force: bool) -> tuple[Difference, ...]:
        """Return in what a version differs from the live one.

        Raises `SignatureChanged` if callers may notice it, unless `force`.
        """


@dataclass(frozen=True)
class RegistryCheck:
    """The check of a registry; satisfies `ReleaseCheck`."""

    catalog: Catalog
    manifest_of: Callable[[ModelVersion], Manifest]

    def proof(self, version: ModelVersion) -> Evidence | None:
        """Return the newest evidence that the version holds."""
        evidence = self.catalog.versions.evidence(version.digest, history=False)
        holding = [entry for entry in evidence if entry.holds]
        if not holding:
            raise VerificationError(
                f"release of `{version.ref}`",
                expected="evidence that it holds",
                found="none that does" if evidence else "none",
                hint=f"`lading verify {version.ref}` records it, in Python `registry.record(verify(bundle))`",
            )
        return max(holding, key=lambda entry: entry.measured_at)

    def compare(self, version: ModelVersion, live: ModelVersion, *, force: bool) -> tuple[Difference, ...]:
        """Return in what a version differs from the live one."""
        if version.digest == live.digest:
            return ()
        # Imported here, with numpy: see `Registry.pull`.
        from lading.bundle.difference import Difference, differences

        try:
            changes = differences(self.manifest_of(live), self.manifest_of(version))
        except (BundleError, BlobNotFound) as error:
            if not force:
                hint = f"`--force` (in Python `force=True`) releases `{version.ref}` without comparing it"
                raise error.with_hint(f"{error.hint}; {hint}" if error.hint else hint) from error
            return (Difference("comparison", f"`{live.ref}`", f"not possible: {error.message}", True),)
        breaking = [difference for difference in changes if difference.breaks]
        if breaking and not force:
            raise _changed(version, live, breaking)
        return changes


def _changed(version: ModelVersion, live: ModelVersion, breaking: list[Difference]) -> SignatureChanged:
    first = "; ".join(map(str, breaking[:_MOST_SHOWN]))
    more = f"; {len(breaking) - _MOST_SHOWN} more" if len(breaking) > _MOST_SHOWN else ""
    return SignatureChanged(
        f"`{version.ref}` is not released",
        expected=f"the signature of the live `{live.ref}`, which callers rely on",
        found=f"{first}{more}",
        hint=f"`lading diff {live.ref} {version.ref}` shows everything; "
        "`--force` (in Python `force=True`) releases it all the same",
    )
