"""Where bundles and what is known of them are kept: a `Catalog` of rows and a `Store` of blobs.

This file holds the `Registry` over both, of which the part about releases is in ``releases``; their contracts
and what implements them are in ``catalog`` and ``store``. It decides nothing about releases, which move the
tags `live` and `candidate`, and never runs a model.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from lading.blobs.digest import NullSink
from lading.clock import iso_time
from lading.errors import BlobNotFound, RegistryUnavailable, UsageError
from lading.ref import RELEASE_TAGS, Ref, check_tag
from lading.registry.records import GcReport, ModelVersion, NewVersion, Removed
from lading.registry.releases import KEPT_DAYS, KEPT_RELEASES, Releases
from lading.settings import registry_url, store_settings, store_url

if TYPE_CHECKING:
    from lading.blobs.progress import OnProgress
    from lading.bundle import Bundle
    from lading.evidence import Evidence
    from lading.registry.cache import BundleCache
    from lading.registry.catalog import Catalog
    from lading.registry.store import Store

__all__ = ["GcReport", "ModelVersion", "Registry"]

log = logging.getLogger("lading.registry")


class Registry(Releases):
    """Models, their versions, bundles and releases. One object per process; threads may share it."""

    def __init__(
        self, catalog: Catalog, store: Store, cache: BundleCache, *, clock: Callable[[], float] = time.time
    ) -> None:
        from lading.registry.offline import LastKnown

        super().__init__(catalog, clock)
        self._store = store
        self._cache = cache
        self.last_known = LastKnown(cache.root / "known", catalog.where, clock)

    @classmethod
    def open(cls, url: str | None = None, *, store: str | None = None, at_once: bool = True) -> Registry:
        """Open the registry at `url`, else ``LADING_REGISTRY``, else ``~/.lading``.

        A folder, made if it is not there, or ``postgresql://…``. `store`, else ``LADING_STORE``, says where
        the blobs are, if not in the folder. Raises `InvalidSetting` and `RegistryUnavailable`; a database is
        asked only when it is first used if not `at_once`.
        """
        # Imported here: SQLAlchemy takes longer to load than all the rest of a registry.
        from lading.registry.cache import BundleCache
        from lading.registry.open import cache_of, open_catalog, open_store

        at = registry_url(url)
        blobs = open_store(store_url(store), at)
        cache = BundleCache(cache_of(at), max_bytes=store_settings().cache_max_bytes)
        return cls(open_catalog(at, at_once=at_once), blobs, cache)

    @property
    def where(self) -> str:
        """The folder or URL of the catalog."""
        return self._catalog.where

    def push(
        self, bundle: Bundle, *, tags: Sequence[str] = (), on_progress: OnProgress | None = None
    ) -> ModelVersion:
        """Keep a bundle as the next version of its model, and move `tags` there.

        The same bundle again keeps its version. Raises `UsageError` for tags that are a release's own.
        """
        from lading.blobs.progress import told_writing

        for tag in tags:
            _check_free(tag)
        blob = bundle.write_tar(cast("BinaryIO", NullSink()))
        manifest = bundle.manifest
        new = NewVersion(
            name=manifest.name,
            digest=bundle.digest,
            blob=blob.digest,
            size_bytes=blob.size,
            purpose=manifest.purpose,
            owner=manifest.owner,
            description=manifest.description,
            pushed_at=iso_time(self._clock()),
            metrics=manifest.metrics,
        )

        def write(out: BinaryIO) -> None:
            bundle.write_tar(told_writing(out, on_progress, blob.size))

        def put() -> None:
            self._store.put(write, blob.digest, blob.size)

        # No version names the blob yet, so that a `gc` may take it, now or when it has just been put. Then it
        # is put once more, where no `gc` can come between.
        with contextlib.suppress(BlobNotFound):
            put()
        version = self._catalog.add(new, tags, lambda: None if self._store.has(blob.digest) else put())
        self._store.label(version)
        return version

    def resolve(self, ref: Ref | str) -> ModelVersion:
        """Find the version that `ref` means; a bare name means the tag `live`, else the highest version.

        Raises `ModelNotFound`, `VersionNotFound` or `TagNotFound` with what is near instead.
        """
        ref = _read(ref)
        found = self._catalog.find(Ref(ref.name, tag="live")) if _is_bare(ref) else None
        found = found or self._catalog.find(ref)
        if found is None:
            raise self._missing(ref)
        return found

    def known(self, ref: Ref | str) -> ModelVersion:
        """Find what `ref` means, as `resolve`; where the catalog is away, as it was found here before.

        Only a number or a digest is known from before: what they name never changes. Its tags are not.
        """
        ref = _read(ref)
        try:
            version = self.resolve(ref)
        except RegistryUnavailable as error:
            known = self.last_known.version(ref)
            if known is None:
                raise
            log.warning("catalog unreachable; using the last known version of `%s`: %s", ref, error.message)
            return known
        self.last_known.keep(version)
        return version

    def fetch(self, ref: Ref | str | ModelVersion) -> Bundle:
        """Open the bundle of `ref` from the cache, unpacked there by the first who asks.

        Every byte is checked against the digest in the catalog; of a version that is known already the
        catalog is not asked. Raises `BundleError` and `BlobNotFound`.
        """
        version = ref if isinstance(ref, ModelVersion) else self.resolve(ref)
        return self._cache.bundle(
            version.digest, lambda to: self._unpack(version, to), size_bytes=version.size_bytes
        )

    def pull(self, ref: Ref | str, to: Path, *, on_progress: OnProgress | None = None) -> Bundle:
        """Unpack the bundle of `ref` to a folder of its own; what a killed pull left beside it goes.

        Raises `DestinationExists`.
        """
        from lading.blobs.locks import scratch
        from lading.blobs.os_errors import target_faults
        from lading.bundle.writer import check_free

        version = self.resolve(ref)
        with target_faults(f"pull of `{version.ref}` to `{to}`"):
            check_free(to)
            parent = to.absolute().parent
            parent.mkdir(parents=True, exist_ok=True)
            with scratch(parent / f".{to.name[:64]}.pull.tmp") as through:
                return self._unpack(version, to, on_progress, through=through)

    def models(self) -> list[str]:
        """List the names of all models."""
        return self._catalog.models()

    def versions(self, name: str) -> list[ModelVersion]:
        """List the versions of a model, lowest first; `name` is no reference. Raises `ModelNotFound`."""
        found = self._catalog.versions(name)
        if not found:
            ref = _read(name)
            if not _is_bare(ref):
                hint = f"`{ref.name}` names all of its versions"
                raise UsageError("versions", expected="a model's name", found=f"reference `{ref}`", hint=hint)
            raise self._missing(ref)
        return found

    def tag(self, ref: Ref | str, tag: str, *, release: bool = False) -> ModelVersion:
        """Move a tag to a version. `live` and `candidate` need `release`, which only a release gives."""
        check_tag(tag) if release else _check_free(tag)
        while True:
            version = self.resolve(ref)
            tagged = self._catalog.tag(version.name, version.version, tag)
            # None: it was removed since. Then `resolve` finds another or has the right words.
            if tagged is not None:
                return tagged

    def untag(self, name: str, tag: str, *, release: bool = False) -> None:
        """Remove a tag. Raises `TagNotFound`; `live` and `candidate` need `release`."""
        check_tag(tag) if release else _check_free(tag)
        if not self._catalog.untag(name, tag):
            raise self._missing(Ref(_read(name).name, tag=tag))

    def record(self, evidence: Evidence) -> None:
        """Keep evidence about a bundle, pushed or not; the last per bundle and fingerprint counts."""
        for key, number in evidence.numbers.items():
            if not math.isfinite(number):
                where = f"evidence of `{evidence.name}`, `{key}`"
                raise UsageError(where, expected="a finite number", found=f"`{number}`")
        self._catalog.record(evidence)

    def evidence(self, digest: str | None = None, *, history: bool = False) -> list[Evidence]:
        """List the last evidence per bundle and fingerprint, or all of it; of one bundle or of every one."""
        return self._catalog.evidence(digest, history=history)

    def remove(self, ref: Ref | str) -> None:
        """Forget a version, named by number or digest; its number is never given again.

        `gc` frees its bytes. Raises `StillInUse` if a tag, one of the model's last releases or a running
        replica names it.
        """
        from lading.registry.not_found import still_used

        ref = _read(ref)
        if ref.version is None and ref.digest is None:
            raise UsageError("remove", expected=f"a version, as in `{ref.name}:3`", found=f"`{ref}`")
        version = self.resolve(ref)
        uses = self._catalog.remove(version.name, version.version, keep_releases=KEPT_RELEASES)
        if uses is None:
            raise self._missing(ref)
        if uses:
            raise still_used(version, uses)

    def gc(self, *, dry_run: bool = False, older_than_s: float = 3600) -> GcReport:
        """Remove temporary files, blobs and unpacked bundles that no version names, and rows of old traffic.

        Only what is older than `older_than_s` goes. May run at any time: a push or fetch under way is not
        disturbed, however small `older_than_s` is.
        """
        before = self._clock() - older_than_s
        removed = self._store.sweep(before, dry_run=dry_run)
        blobs, _ = self._catalog.kept()
        kept = 0
        for blob in self._store.blobs():
            unnamed = blob.digest not in blobs and blob.modified_at <= before
            if unnamed and (dry_run or self._catalog.discard(blob.digest, self._store.delete)):
                removed.append(Removed("blob", blob.digest, blob.size_bytes))
            else:
                kept += 1
        removed += self._cache.sweep(lambda: self._catalog.kept()[1], before, dry_run=dry_run)
        removed += self._catalog.prune(KEPT_DAYS * 86400, store_settings().gone_days * 86400, dry_run=dry_run)
        return GcReport(tuple(removed), kept)

    def close(self) -> None:
        """Let go of the connections to catalog and store; the registry opens them again when used."""
        self._catalog.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unpack(
        self,
        version: ModelVersion,
        to: Path,
        on_progress: OnProgress | None = None,
        *,
        through: Path | None = None,
    ) -> Bundle:
        from lading.blobs.progress import told_reading
        from lading.bundle import unpack_tar
        from lading.registry.cache import hinted

        hint = f"blob `{version.blob}` in store `{self._store.where}` is damaged: push the bundle again"
        with self._store.open(version.blob) as source, hinted(hint):
            told = told_reading(source, on_progress, version.size_bytes)
            return unpack_tar(told, to, digest=version.digest, through=through)


def _read(ref: Ref | str) -> Ref:
    return ref if isinstance(ref, Ref) else Ref.parse(ref)


def _is_bare(ref: Ref) -> bool:
    return ref.version is None and ref.tag is None and ref.digest is None


def _check_free(tag: str) -> None:
    if check_tag(tag) in RELEASE_TAGS:
        raise UsageError(
            f"tag `{tag}`",
            expected="a tag that is not a release's own",
            found=f"`{tag}`",
            hint="`lading release` moves `live` and `candidate`",
        )
