"""Resolves references to wanted versions, before anything is loaded.

If the catalog is unreachable, a number or a digest means what it last meant on this machine. For anything
else, such as a tag that may have moved since, the server waits: not ready, and retrying.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import msgspec

from lading.bundle import Bundle
from lading.clock import back_off_s
from lading.errors import CatalogTooNew, LadingError, RegistryUnavailable
from lading.ref import Ref
from lading.registry import ModelVersion, Registry
from lading.registry.beside import read_beside
from lading.registry.urls import is_database
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.readiness import CATALOG_UNREACHABLE
from lading.server.loading.admission import with_admission_each
from lading.server.loading.manager import Manager
from lading.server.loading.policy import Wanted
from lading.settings import registry_url

log = logging.getLogger("lading.server")

_FIRST_RETRY_S = 0.5
_MAX_RETRY_S = 5.0


class Agreement(Protocol):
    """How the workers of one server agree on what to serve."""

    def listen(self) -> None:
        """Begin to receive messages of the others."""

    def agree(self, choose: Callable[[], Any]) -> Any:
        """Return what the first of them has chosen; None if that is not possible yet."""

    def announce(self, choice: Any) -> None:
        """Send the others what this one has chosen."""


class BundleDirectory(msgspec.Struct, frozen=True):
    """The name and the digest of the bundle that a directory holds."""

    name: str
    digest: str


_Target = ModelVersion | BundleDirectory
"""What a reference means."""


class Resolver:
    """Resolves the references of one process: immediately, or in a thread once the catalog is reachable.

    Of several workers, which have an `agreement`, one resolves for all.
    """

    def __init__(
        self, refs: Sequence[Ref | Path], registry_url: str | None, agreement: Agreement | None = None
    ) -> None:
        self._refs = refs
        self._url = registry_url
        self._agreement = agreement
        self._stop = threading.Event()

    def resolve(self) -> list[Wanted] | None:
        """Return the versions that the references mean, or None if only an unreachable catalog knows.

        Raises `NotFound`, and `RegistryUnavailable` if waiting does not help: a folder that cannot be used,
        or a catalog that is too new.
        """
        if self._agreement is None:
            targets = self._reachable_targets()
        else:
            self._agreement.listen()
            targets = self._read_choice(self._agreement.agree(self._choose))
        return self._wanted(targets) if targets is not None else None

    def load(self, wanted: Sequence[Wanted] | None, manager: Manager, plane: DataPlane) -> None:
        """Have `manager` load what is `wanted`; if that is None, retry in a thread until it is known."""
        if wanted is not None:
            manager.want(with_admission_each(self._refs, wanted, self._url))
            return
        plane.readiness.not_ready_reason = CATALOG_UNREACHABLE
        threading.Thread(target=self._retry, args=(manager, plane), name="resolver", daemon=True).start()

    def close(self) -> None:
        """Retry no more."""
        self._stop.set()

    def _choose(self) -> Any:
        """Resolve for all workers; return None if that is not possible yet."""
        if not self._refs:
            # The server follows releases: a registry that cannot be used fails the start, before any worker
            # has begun. An unreachable catalog does not, because the follower waits for it.
            with self._open() as registry:
                try:
                    registry.releases.wanted()
                except RegistryUnavailable as error:
                    if isinstance(error, CatalogTooNew):
                        raise
        targets = self._reachable_targets()
        return msgspec.to_builtins(targets) if targets is not None else None

    def _read_choice(self, choice: Any) -> list[_Target] | None:
        """Return the targets that another worker has announced."""
        if choice is None:
            return None
        targets: list[_Target] = []
        for ref, value in zip(self._refs, choice, strict=True):
            kind: type[_Target] = BundleDirectory if isinstance(ref, Path) else ModelVersion
            targets.append(msgspec.convert(value, kind))
        return targets

    def _retry(self, manager: Manager, plane: DataPlane) -> None:
        failures, retry_s = 1, _FIRST_RETRY_S
        while not self._stop.wait(retry_s):
            failures += 1
            retry_s = back_off_s(failures, first_s=_FIRST_RETRY_S, most_s=_MAX_RETRY_S)
            try:
                targets = self._targets()
            except LadingError as error:
                is_outage = isinstance(error, RegistryUnavailable)
                plane.readiness.not_ready_reason = CATALOG_UNREACHABLE if is_outage else error.message
                log.warning("cannot resolve references yet, retrying in %g s: %s", retry_s, error)
            except Exception:
                # The edge of a thread: without this nobody would retry.
                log.exception("cannot resolve references yet, retrying in %g s", retry_s)
            else:
                if self._agreement is not None:
                    self._agreement.announce(msgspec.to_builtins(targets))
                self.load(self._wanted(targets), manager, plane)
                return

    def _reachable_targets(self) -> list[_Target] | None:
        """Return what the references mean, or None if only a database knows that is unreachable."""
        try:
            return self._targets()
        except RegistryUnavailable as error:
            # A folder that cannot be read does not come back by waiting; a database does.
            if isinstance(error, CatalogTooNew) or not is_database(registry_url(self._url)):
                raise
            message = "cannot resolve references yet, retrying in %g s: %s"
            log.warning(message, _FIRST_RETRY_S, error)
            return None

    def _targets(self) -> list[_Target]:
        """Return what each reference means; of a directory only the manifest is read."""
        with ExitStack() as stack:
            registry: Registry | None = None
            targets: list[_Target] = []
            for ref in self._refs:
                if isinstance(ref, Path):
                    bundle = Bundle.open(ref)
                    targets.append(BundleDirectory(bundle.manifest.name, bundle.digest))
                else:
                    # Opened for the first reference that needs it: a server of directories has no registry.
                    registry = registry or stack.enter_context(self._open())
                    targets.append(registry.known(ref))
            return targets

    def _wanted(self, targets: Sequence[_Target]) -> list[Wanted]:
        return [self._wanted_of(ref, target) for ref, target in zip(self._refs, targets, strict=True)]

    def _wanted_of(self, ref: Ref | Path, target: _Target) -> Wanted:
        if isinstance(target, BundleDirectory):
            assert isinstance(ref, Path)
            return Wanted(
                target.name,
                0,
                target.digest,
                lambda: Bundle.open(ref, digest=target.digest),
                attested=lambda: read_beside(ref),
            )

        def fetch() -> Bundle:
            with self._open() as registry:
                return registry.fetch(target)

        def attested() -> list[str]:
            with self._open() as registry:
                return registry.admission.attested(target.digest)

        return Wanted(target.name, target.version, target.digest, fetch, target.tags, attested=attested)

    def _open(self) -> Registry:
        return Registry.open(self._url, at_once=False)
