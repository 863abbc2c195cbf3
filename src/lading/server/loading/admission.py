"""Checks the evidence about a bundle on the image that would serve it; failed evidence keeps it from loading.

Only in an image that states which one it is, and only if a registry can be asked; the bundle's own golden
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
from lading.registry.open import open_catalog
from lading.runtime.host.fingerprint import fingerprint, image_here
from lading.server.loading.policy import EvidenceBook, Wanted
from lading.settings import registry_is_set, registry_url

log = logging.getLogger("lading.server")


EvidenceOf = Callable[[str], Sequence[Evidence]]
"""Returns the evidence about a bundle by its digest."""


class CatalogBook:
    """The evidence in the catalog of the registry at `url`, opened for each question."""

    # Only the catalog, because the user of a directory may have said nothing about the store.

    def __init__(self, url: str | None) -> None:
        self._url = registry_url(url)

    def evidence(self, digest: str) -> Sequence[Evidence]:
        """Return the last evidence about a bundle for each fingerprint."""
        with closing(open_catalog(self._url)) as catalog:
            return catalog.versions.evidence(digest, history=False)

    def attested(self, digest: str) -> list[str]:
        """Return what was signed about a bundle."""
        with closing(open_catalog(self._url)) as catalog:
            return [row.body for row in catalog.attachments.of(digest, "attestation")]

    def record(self, evidence: Evidence) -> None:
        """Store evidence."""
        with closing(open_catalog(self._url)) as catalog:
            catalog.versions.record(evidence)


def with_admission(wanted: Wanted, book: EvidenceBook) -> Wanted:
    """Return `wanted` with the `book` of its evidence, which an image checks before it opens the bundle."""
    if image_here() is None:
        return replace(wanted, book=book)

    def checked_open() -> Bundle:
        check_evidence(wanted, book.evidence)
        return wanted.open()

    return replace(wanted, open=checked_open, book=book)


def with_admission_each(
    refs: Sequence[Ref | Path], wanted: Sequence[Wanted], url: str | None
) -> list[Wanted]:
    """Return each of `wanted` with its evidence checked, in the registry at `url`.

    A directory has no registry: it is checked only if the user has chosen one.
    """
    # The URL always has a value: that of the default registry, if nobody has chosen one.
    is_chosen = url is not None and (registry_is_set() or url != registry_url())
    book = CatalogBook(url)
    return [
        with_admission(_attested_there(version, book) if isinstance(ref, Path) else version, book)
        if is_chosen or isinstance(ref, Ref)
        else version
        for ref, version in zip(refs, wanted, strict=True)
    ]


def _attested_there(wanted: Wanted, book: CatalogBook) -> Wanted:
    """Return a bundle of a folder with what was attested beside it, and in the catalog of its registry."""

    def attested() -> list[str]:
        return [*wanted.attested(), *book.attested(wanted.digest)]

    return replace(wanted, attested=attested)


def check_evidence(wanted: Wanted, evidence_of: EvidenceOf) -> None:
    """Raise `EvidenceFailed` with the failed checks if the last evidence on this image does not hold."""
    try:
        known = evidence_of(wanted.digest)
    except LadingError as error:
        # A registry that cannot be asked is no evidence against the bundle.
        log.warning("the evidence about %s cannot be looked up: %s", wanted.name, error.message)
        return
    here = fingerprint()
    for evidence in known:
        if evidence.fingerprint.id == here.id and not evidence.holds:
            raise _refusal(wanted, evidence, here)


def _refusal(wanted: Wanted, evidence: Evidence, here: Fingerprint) -> EvidenceFailed:
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
