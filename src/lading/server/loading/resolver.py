"""From references to wanted versions: what each names is found out before anything is loaded.

Where the catalog is away, a number or a digest names what it named before on this machine. For anything else,
as a tag that may have moved since, the server waits: not ready, and asking again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Union

import msgspec

from lading.bundle import Bundle
from lading.clock import back_off_s
from lading.errors import CatalogTooNew, LadingError, RegistryUnavailable
from lading.ref import Ref
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.readiness import CATALOG_UNREACHABLE
from lading.server.loading.admission import guarded_all
from lading.server.loading.manager import Manager, Wanted
from lading.settings import registry_url

if TYPE_CHECKING:
    from lading.registry import ModelVersion, Registry

log = logging.getLogger("lading.server")

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 5.0


class Agreement(Protocol):
    """How the workers of one server come to serve the same."""

    def listen(self) -> None:
        """Begin to hear the others."""

    def agree(self, choose: Callable[[], Any]) -> Any:
        """Return what the first of them chose."""

    def announce(self, choice: Any) -> None:
        """Send the others what this one has chosen."""


class _Directory(msgspec.Struct, frozen=True):
    """What the directory of a bundle turned out to hold."""

    name: str
    digest: str


_Found = Union["ModelVersion", _Directory]


class Resolver:
    """Finds out what the references of one process name: at once, or in a thread once the catalog is back.

    Of several workers, each with its `seat`, one finds out for all.
    """

    def __init__(
        self, refs: Sequence[Ref | Path], registry_url: str | None, seat: Agreement | None = None
    ) -> None:
        self._refs = refs
        self._url = registry_url
        self._seat = seat
        self._stop = threading.Event()

    def names(self) -> list[Wanted] | None:
        """Return what the references name; None where a catalog that is away would have to be asked.

        Raises `NotFound`, and `RegistryUnavailable` where no waiting helps: a folder that cannot be used, a
        catalog that is too new.
        """
        if self._seat is None:
            found = self._found_by_now()
        else:
            self._seat.listen()
            found = self._read(self._seat.agree(self._choose))
        return self._wanted(found) if found is not None else None

    def load(self, wanted: Sequence[Wanted] | None, manager: Manager, plane: DataPlane) -> None:
        """Have `manager` load what is `wanted`; where that is not known ask again and again, in a thread."""
        if wanted is not None:
            manager.want(guarded_all(self._refs, wanted, self._url))
            return
        plane.readiness.not_ready_reason = CATALOG_UNREACHABLE
        threading.Thread(target=self._work, args=(manager, plane), name="naming", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _choose(self) -> Any:
        """Find out for all workers; None where that is not possible yet."""
        if not self._refs:
            # To follow: what is wrong with the registry is said before any worker has begun.
            with self._open() as registry:
                try:
                    registry.releases.wanted()
                except RegistryUnavailable as error:
                    if isinstance(error, CatalogTooNew):
                        raise  # Anything else the follower says, and waits for.
        found = self._found_by_now()
        return msgspec.to_builtins(found) if found is not None else None

    def _read(self, chosen: Any) -> list[_Found] | None:
        if chosen is None:
            return None
        from lading.registry import ModelVersion

        found: list[_Found] = []
        for ref, one in zip(self._refs, chosen, strict=True):
            kind: type[_Found] = _Directory if isinstance(ref, Path) else ModelVersion
            found.append(msgspec.convert(one, kind))
        return found

    def _work(self, manager: Manager, plane: DataPlane) -> None:
        wait_s, tries = _FIRST_WAIT_S, 1
        while not self._stop.wait(wait_s):
            tries += 1
            wait_s = back_off_s(tries, first_s=_FIRST_WAIT_S, most_s=_LONGEST_WAIT_S)
            try:
                found = self._find()
            except LadingError as error:
                unreachable = isinstance(error, RegistryUnavailable)
                plane.readiness.not_ready_reason = CATALOG_UNREACHABLE if unreachable else error.message
                log.warning("cannot resolve references yet, retrying in %g s: %s", wait_s, error)
            except Exception:
                # The edge of a thread: without it nobody would ask again.
                log.exception("cannot resolve references yet, retrying in %g s", wait_s)
            else:
                if self._seat is not None:
                    self._seat.announce(msgspec.to_builtins(found))
                self.load(self._wanted(found), manager, plane)
                return

    def _found_by_now(self) -> list[_Found] | None:
        from lading.registry.open import is_database

        try:
            return self._find()
        except RegistryUnavailable as error:
            if isinstance(error, CatalogTooNew) or not is_database(registry_url(self._url)):
                raise
            log.warning("cannot resolve references yet, retrying in 0.5 s: %s", error)
            return None

    def _find(self) -> list[_Found]:
        """Ask; of a bundle's directory only the manifest is read."""
        with ExitStack() as stack:
            registry: Registry | None = None
            found: list[_Found] = []
            for ref in self._refs:
                if isinstance(ref, Path):
                    bundle = Bundle.open(ref)
                    found.append(_Directory(bundle.manifest.name, bundle.digest))
                else:
                    registry = registry or stack.enter_context(self._open())
                    found.append(registry.known(ref))
            return found

    def _wanted(self, found: Sequence[_Found]) -> list[Wanted]:
        return [self._wanted_of(ref, one) for ref, one in zip(self._refs, found, strict=True)]

    def _wanted_of(self, ref: Ref | Path, found: _Found) -> Wanted:
        if isinstance(found, _Directory):
            assert isinstance(ref, Path)
            return Wanted(found.name, 0, found.digest, lambda: Bundle.open(ref, digest=found.digest))

        def fetch() -> Bundle:
            with self._open() as registry:
                return registry.fetch(found)

        return Wanted(found.name, found.version, found.digest, fetch, found.tags)

    def _open(self) -> Registry:
        from lading.registry import Registry

        return Registry.open(self._url, at_once=False)
