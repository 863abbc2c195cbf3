"""What is known against a bundle on the image that would serve it: failed evidence stops it before it loads.

Only in an image that says which one it is, and only where a registry can be asked; the bundle's own golden
samples are replayed in any case.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lading.bundle import Bundle
from lading.errors import EvidenceFailed, LadingError
from lading.evidence import Evidence, Fingerprint
from lading.ref import Ref
from lading.runtime.host.fingerprint import fingerprint, image_here
from lading.server.loading.manager import Wanted
from lading.settings import registry_given, registry_url

log = logging.getLogger("lading.server")


Ask = Callable[[str], Sequence[Evidence]]
"""Gives the evidence of a bundle by its digest."""


def guarded(wanted: Wanted, ask: Ask) -> Wanted:
    """Have the evidence asked for before the bundle is opened; outside an image nothing is asked."""
    if image_here() is None:
        return wanted

    def opened() -> Bundle:
        object_to(wanted, ask)
        return wanted.open()

    return replace(wanted, open=opened)


def guarded_all(refs: Sequence[Ref | Path], wanted: Sequence[Wanted], url: str | None) -> list[Wanted]:
    """Guard what `refs` named; a directory knows no registry but one that somebody has chosen."""

    def ask(digest: str) -> Sequence[Evidence]:
        # Imported here, with SQLAlchemy: who serves from directories alone needs neither.
        from lading.registry.open import open_catalog

        # Only the catalog, as the inventory's beat does: nobody says here where the store is.
        with closing(open_catalog(registry_url(url))) as catalog:
            return catalog.versions.evidence(digest, history=False)

    chosen = url is not None and (registry_given() or url != registry_url())
    pairs = zip(refs, wanted, strict=True)
    return [guarded(one, ask) if chosen or isinstance(ref, Ref) else one for ref, one in pairs]


def object_to(wanted: Wanted, ask: Ask) -> None:
    """Raise `EvidenceFailed` with the failed checks, if the last evidence on this image does not hold."""
    try:
        known = ask(wanted.digest)
    except LadingError as error:
        # Whatever keeps it from being asked for says nothing against the bundle.
        log.warning("no evidence of %s can be asked for: %s", wanted.name, error.message)
        return
    here = fingerprint()
    for one in known:
        if one.fingerprint.id == here.id and not one.holds:
            raise _objection(wanted, one, here)


def _objection(wanted: Wanted, evidence: Evidence, here: Fingerprint) -> EvidenceFailed:
    failed = "; ".join(
        f"`{check.name}`: expected {check.expected or 'it to hold'}, found {check.found or 'it did not'}"
        for check in evidence.failures
    )
    return EvidenceFailed(
        f"`{wanted.name}:{wanted.version}` on image `{here.image}`",
        expected="evidence that it holds here",
        found=f"that it failed on {evidence.measured_at}: {failed}",
        hint="serve it with another image, or fix it and run `lading image verify` again",
    )
