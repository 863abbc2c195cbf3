"""Where bundles and what is known of them are kept: a `Catalog` of rows and a `Store` of blobs.

Holds the `Registry` over both; its eight parts (``versions``, ``releases``, ``traffic``, ``fleet``,
``monitoring``, ``runs``, ``jobs``, ``attachments``) need the catalog alone. The contracts and what implements
them are in ``catalog`` and ``store``. Never runs a model.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from lading.blobs.digest import NullSink
from lading.blobs.locks import scratch_folder
from lading.blobs.os_errors import destination_errors
from lading.blobs.progress import OnProgress, report_reads, report_writes
from lading.clock import iso_time
from lading.errors import BlobNotFound, BundleError, RegistryUnavailable, UsageError
from lading.registry.admission import Admission
from lading.registry.attachments import ENVELOPE_TYPE, Attachments, envelopes, json_object
from lading.registry.beside import add_beside, read_beside
from lading.registry.cache import BundleCache, with_hint
from lading.registry.fleet import Fleet
from lading.registry.jobs import Jobs
from lading.registry.monitoring import Monitoring
from lading.registry.offline import LastKnown
from lading.registry.open import cache_of, open_catalog, open_store
from lading.registry.records import GcReport, ModelVersion, NewVersion, Removed
from lading.registry.release_check import RegistryCheck
from lading.registry.releases import Releases
from lading.registry.runs import Runs
from lading.registry.traffic import Traffic
from lading.registry.versions import Versions, as_ref, check_free, is_bare
from lading.settings import actor, registry_url, store_settings, store_url, trust_policy

if TYPE_CHECKING:
    from lading.bundle import Bundle, Manifest
    from lading.bundle.difference import Differences
    from lading.evidence import Evidence
    from lading.ref import Ref
    from lading.registry.catalog import Catalog
    from lading.registry.release_check import ReleaseCheck
    from lading.registry.store import Store
    from lading.release import Plan, Release

__all__ = ["GcReport", "ModelVersion", "Registry"]

log = logging.getLogger("lading.registry")

_PARALLEL_READS = 8


class Registry:
    """Models, their versions, bundles and releases. One object per process; threads may share it.

    Its methods are the everyday ones. `models`, `tag`, `untag`, `remove`, `record`, `evidence` and `resolve`
    are those of `versions`; everything about releases and what runs is in `releases`, `traffic`, `fleet`,
    `monitoring`, `runs`, `jobs` and `attachments`.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        cache: BundleCache,
        *,
        clock: Callable[[], float] | None = None,
        release_check: ReleaseCheck | None = None,
        policy: str = "",
    ) -> None:
        self.catalog = catalog
        self.store = store
        self._cache = cache
        # What is dated in the catalog is dated by its own clock: those of hosts may differ, or be set.
        self._clock = clock or time.time
        self._versions = Versions(catalog)
        self._attachments = Attachments(catalog)
        self.last_known = LastKnown(cache.root / "known", catalog.where, self._clock)
        self.admission = Admission(policy, self._attachments, self.manifest, self.last_known)
        check = release_check or RegistryCheck(catalog, self.manifest)
        self._releases = Releases(catalog, clock or catalog.fleet.now, check, self.admission)
        self._traffic = Traffic(catalog)
        self._fleet = Fleet(catalog)
        self._monitoring = Monitoring(catalog)
        self._runs = Runs(catalog)
        self._jobs = Jobs(catalog)

    @classmethod
    def open(
        cls,
        url: str | None = None,
        *,
        store: str | None = None,
        at_once: bool = True,
        policy: str | None = None,
    ) -> Registry:
        """Open the registry at `url`, else ``LADING_REGISTRY``, else ``~/.lading``.

        A folder, created if it does not exist, or ``postgresql://…``. `store`, else ``LADING_STORE``, says
        where the blobs are, if not in the folder. `policy`, else ``LADING_TRUST_POLICY``, is the file that
        says what may be pushed and released. Raises `InvalidSetting` and `RegistryUnavailable`; without
        `at_once`, a database is connected to on first use only.
        """
        at = registry_url(url)
        blobs = open_store(store_url(store), at)
        cache = BundleCache(cache_of(at), max_bytes=store_settings().cache_max_bytes)
        return cls(open_catalog(at, at_once=at_once), blobs, cache, policy=trust_policy(policy))

    @property
    def where(self) -> str:
        """The folder or URL of the catalog."""
        return self.catalog.where

    @property
    def read_only(self) -> bool:
        """Whether it can be read alone, as a folder on a volume that is mounted read-only."""
        return self.catalog.read_only

    @property
    def versions(self) -> Versions:
        """The versions: `registry.versions("iris")` returns those of a model, lowest first.

        That raises `ModelNotFound`.
        """
        return self._versions

    @property
    def releases(self) -> Releases:
        """The releases: `registry.releases("iris")` returns those of a model, newest first.

        That raises `ModelNotFound`.
        """
        return self._releases

    @property
    def traffic(self) -> Traffic:
        """Windows of live traffic, and feedback on its way."""
        return self._traffic

    @property
    def fleet(self) -> Fleet:
        """The replicas that run, and leases."""
        return self._fleet

    @property
    def monitoring(self) -> Monitoring:
        """Windows of live columns, baselines, and alarms."""
        return self._monitoring

    @property
    def runs(self) -> Runs:
        """Runs over data sets, such as `lading batch`."""
        return self._runs

    @property
    def jobs(self) -> Jobs:
        """The queue of jobs, and their results."""
        return self._jobs

    @property
    def attachments(self) -> Attachments:
        """What is attached to bundles and images: attestations, SBOMs, scans."""
        return self._attachments

    def push(
        self, bundle: Bundle, *, tags: Sequence[str] = (), on_progress: OnProgress | None = None
    ) -> ModelVersion:
        """Store a bundle as the next version of its model, and move `tags` there.

        A bundle that was pushed before keeps its version. What is attested beside it goes along. Raises
        `UsageError` for tags that only releases move, and the `TrustError` by which a policy keeps it out.
        """
        for tag in tags:
            check_free(tag)
        attested = read_beside(bundle.path)
        self.admission.check_bundle("push", bundle, attested)
        # Written twice: the digest must be known before the first byte is sent, and a tar may be of any size.
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
            bundle.write_tar(report_writes(out, on_progress, blob.size))

        def put() -> None:
            self.store.put(write, blob.digest, blob.size)

        # No version names the blob yet, so a `gc` may remove it during the put or right after. Then it is put
        # once more inside the transaction of `add`, where no `gc` can come between.
        with contextlib.suppress(BlobNotFound):
            put()
        # Before the version exists: a server that follows it finds them.
        for text in attested:
            self.attest(bundle.digest, text)
        version = self.catalog.versions.add(new, tags, lambda: None if self.store.has(blob.digest) else put())
        self.store.label(version)
        # Labelled, the artifact of a store in an OCI registry is another one, without what referred to it.
        self.store.attach(version, envelopes(self.attachments, version.digest))
        return version

    def attest(
        self, digest: str, text: str, *, by: str | None = None, version: ModelVersion | None = None
    ) -> None:
        """Keep an attestation of a bundle, pushed or not; what it is worth is judged where it is needed.

        With its `version`, a store in an OCI registry has it as well. Raises `AttachmentTooLarge`, and
        `AttestationInvalid` for what is no JSON object.
        """
        body = json_object(text)
        self.attachments.add(digest, "attestation", body, media_type=ENVELOPE_TYPE, actor=actor(by) or "")
        if version is not None:
            self.store.attach(version, envelopes(self.attachments, digest))

    def resolve(self, ref: Ref | str) -> ModelVersion:
        """Return the version that `ref` means; a bare name means the tag `live`, else the highest version.

        Raises `ModelNotFound`, `VersionNotFound` or `TagNotFound`, with a hint at what is similar.
        """
        return self._versions.resolve(ref)

    def known(self, ref: Ref | str) -> ModelVersion:
        """Return what `ref` means, as `resolve`; while the catalog is unreachable, as it was resolved before.

        Only a number or a digest is known from before: what they name never changes. What a tag names is not.
        """
        ref = as_ref(ref)
        try:
            version = self.resolve(ref)
        except RegistryUnavailable as error:
            known = self.last_known.version(ref)
            if known is None:
                raise
            log.warning("`%s` is served as it was resolved before: %s", ref, error.message)
            return known
        self.last_known.keep(version)
        return version

    def fetch(self, ref: Ref | str | ModelVersion) -> Bundle:
        """Open the bundle of `ref` from the cache, unpacked there by the first process that asks.

        Every byte is checked against the digest in the catalog, which is not asked when a version is passed.
        Raises `BundleError` and `BlobNotFound`.
        """
        version = ref if isinstance(ref, ModelVersion) else self.resolve(ref)
        return self._cache.bundle(
            version.digest, lambda to: self._unpack(version, to), size_bytes=version.size_bytes
        )

    def pull(self, ref: Ref | str, to: Path, *, on_progress: OnProgress | None = None) -> Bundle:
        """Unpack the bundle of `ref` to a folder of its own; what a killed pull left beside it is removed.

        Raises `DestinationExists`.
        """
        # Imported here, with numpy: it is a quarter of the time of `lading list`, which does not need it.
        from lading.bundle.writer import check_destination

        version = self.resolve(ref)
        with destination_errors(f"pull of `{version.ref}` to `{to}`"):
            check_destination(to)
            parent = to.absolute().parent
            parent.mkdir(parents=True, exist_ok=True)
            with scratch_folder(parent / f".{to.name[:64]}.pull.tmp") as through:
                bundle = self._unpack(version, to, on_progress, through=through)
            if attested := self.attachments.of(version.digest, "attestation"):
                add_beside(to, [row.body for row in attested])
        return bundle

    def manifest(self, ref: Ref | str | ModelVersion) -> Manifest:
        """Return what the bundle of `ref` states about itself; the rest of the bundle is not read.

        Raises `BundleError` and `BlobNotFound`.
        """
        # Imported here, with numpy: see `pull`.
        from lading.bundle import read_archive_manifest

        version = ref if isinstance(ref, ModelVersion) else self.resolve(ref)
        with self.store.open(version.blob) as source, with_hint(self._damaged(version)):
            return read_archive_manifest(source, version.digest)

    def files(self, version: ModelVersion, manifest: Manifest, names: Collection[str]) -> dict[str, bytes]:
        """Read the files of these names in the bundle of a version whose manifest is known, and no more.

        Raises `BundleError` and `BlobNotFound`.
        """
        # Imported here, with numpy: see `pull`.
        from lading.bundle import read_archive_files

        with self.store.open(version.blob) as source, with_hint(self._damaged(version)):
            return read_archive_files(source, manifest, names)

    def manifests(self, versions: Sequence[ModelVersion]) -> list[Manifest | None]:
        """Return what each bundle states about itself, or None for one that cannot be read now.

        Of a store that does not answer, no more is asked.
        """
        is_down = False

        def read(version: ModelVersion) -> Manifest | None:
            nonlocal is_down
            # Each attempt may take as long as its timeout, and a list may have thousands.
            if is_down:
                return None
            try:
                return self.manifest(version)
            except RegistryUnavailable:
                is_down = True
            except (BlobNotFound, BundleError):
                pass  # Damaged or gone: those who use it will see why, and a list goes on.
            return None

        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            return list(pool.map(read, versions))

    def differences(self, old: Ref | str | ModelVersion, new: Ref | str | ModelVersion) -> Differences:
        """Return in what `new` differs from `old`, what callers may notice first; raises as `manifest`."""
        # Imported here, with numpy: see `pull`.
        from lading.bundle.difference import differences

        return differences(self.manifest(old), self.manifest(new))

    def release(
        self, ref: Ref | str, plan: Plan | None = None, *, actor: str, reason: str = "", force: bool = False
    ) -> Release:
        """Begin a release of the version that `ref` names, as `lading release` does.

        Live immediately without a plan. The registry must hold evidence that the version holds, else
        `VerificationError`; and unless `force`, callers of what is live must not notice it, else
        `SignatureChanged`. A bare name is no version. Raises as `releases.begin`.
        """
        ref = as_ref(ref)
        if is_bare(ref):
            hint = f"`lading list {ref.name}` lists the versions"
            expected = f"a version, as in `{ref.name}:2`"
            raise UsageError(f"release of `{ref}`", expected=expected, found="none", hint=hint)
        version = self.resolve(ref)
        return self._releases.begin(
            version.name, version.version, plan, actor=actor, reason=reason, force=force
        )

    def models(self) -> list[str]:
        """Return the names of all models."""
        return self._versions.models()

    def tag(self, ref: Ref | str, tag: str, *, release: bool = False) -> ModelVersion:
        """Move a tag to a version. `live` and `candidate` need `release`, which only a release passes."""
        return self._versions.tag(ref, tag, release=release)

    def untag(self, name: str, tag: str, *, release: bool = False) -> None:
        """Remove a tag. Raises `TagNotFound`; `live` and `candidate` need `release`."""
        self._versions.untag(name, tag, release=release)

    def record(self, evidence: Evidence) -> None:
        """Store evidence about a bundle, pushed or not; the last per bundle and fingerprint counts."""
        self._versions.record(evidence)

    def evidence(self, digest: str | None = None, *, history: bool = False) -> list[Evidence]:
        """Return the last evidence per bundle and fingerprint, or all of it; of one bundle or of all."""
        return self._versions.evidence(digest, history=history)

    def remove(self, ref: Ref | str) -> None:
        """Remove a version, named by number or digest; its number is never used again.

        `gc` frees its bytes. Raises `StillInUse` if a tag, one of the model's last releases or a running
        replica names it.
        """
        self._versions.remove(ref)

    def gc(self, *, dry_run: bool = False, older_than_s: float = 3600) -> GcReport:
        """Remove temporary files, blobs and unpacked bundles that no version names, and rows of old traffic.

        Only what is older than `older_than_s` is removed. May run at any time: a push or fetch under way is
        not disturbed, however small `older_than_s` is.
        """
        before = self._clock() - older_than_s
        removed = self.store.sweep(before, dry_run=dry_run)
        blobs, _ = self.catalog.versions.kept()
        kept = 0
        for blob in self.store.blobs():
            unnamed = blob.digest not in blobs and blob.modified_at <= before
            # `discard` asks again: the blob may have been pushed since.
            if unnamed and (dry_run or self.catalog.versions.discard(blob.digest, self.store.delete)):
                removed.append(Removed("blob", blob.digest, blob.size_bytes))
            else:
                kept += 1
        removed += self._cache.sweep(lambda: self.catalog.versions.kept()[1], before, dry_run=dry_run)
        removed += self._traffic.prune(dry_run=dry_run)
        removed += self._fleet.prune(dry_run=dry_run)
        removed += self._monitoring.prune(dry_run=dry_run)
        removed += self._runs.prune(dry_run=dry_run)
        removed += self._jobs.prune(dry_run=dry_run)
        return GcReport(tuple(removed), kept)

    def environments(self) -> dict[str, list[str]]:
        """Return the bundles that use an environment, by the digest of its lock: those unpacked here.

        A bundle that is a version is called so, such as `churn:3`.
        """
        users: dict[str, list[str]] = {}
        for digest, (name, lock) in self._cache.locks().items():
            versions = self.catalog.versions.of(name)
            ref = next((str(version.ref) for version in versions if version.digest == digest), None)
            users.setdefault(lock, []).append(ref or f"{name}@{digest[:19]}")
        return {lock: sorted(names) for lock, names in users.items()}

    def close(self) -> None:
        """Close the connections to catalog and store; the registry opens them again when used."""
        self.catalog.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Registry({self.where!r})"

    def _unpack(
        self,
        version: ModelVersion,
        to: Path,
        on_progress: OnProgress | None = None,
        *,
        through: Path | None = None,
    ) -> Bundle:
        from lading.bundle import unpack_tar

        with self.store.open(version.blob) as source, with_hint(self._damaged(version)):
            reader = report_reads(source, on_progress, version.size_bytes)
            return unpack_tar(reader, to, digest=version.digest, through=through)

    def _damaged(self, version: ModelVersion) -> str:
        return f"blob `{version.blob}` in store `{self.store.where}` is damaged: push the bundle again"
