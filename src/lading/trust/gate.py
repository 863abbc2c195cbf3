"""The gate of a policy file: reads it again when it or a key has changed, and judges bundles by it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lading.bundle import Manifest
from lading.errors import InvalidSetting, KeyInvalid, LadingError
from lading.registry.gate import Place
from lading.trust.judge import judge
from lading.trust.policy import TrustPolicy

log = logging.getLogger("lading.trust")


class PolicyGate:
    """Judges bundles by the policy in a file; `clock` returns Unix times. Threads may share it.

    A file that has become unreadable, or wrong, changes nothing: the policy that was read last goes on.
    """

    def __init__(self, path: Path | str, clock: Callable[[], float] = time.time) -> None:
        self._file = Path(path)
        self._clock = clock
        self._lock = threading.Lock()
        self._policy = TrustPolicy.read(self._file)
        self.failure = ""

    @property
    def path(self) -> str:
        """The file of the policy."""
        return str(self._file)

    @property
    def digest(self) -> str:
        """The digest of the policy that holds now."""
        return self._policy.digest

    @property
    def policy(self) -> TrustPolicy:
        """The policy that holds now."""
        return self._policy

    def reload(self) -> bool:
        """Read the file and its keys again; return whether the policy is another one now."""
        # Two threads that read at once could set the older of two policies last.
        with self._lock:
            try:
                policy = TrustPolicy.read(self._file)
            # Files are often replaced one after the other: a key may be absent for a moment.
            except (InvalidSetting, KeyInvalid) as error:
                self._fail(error)
                return False
            self.failure = ""
            changed = policy.digest != self._policy.digest
            self._policy = policy
        return changed

    def check(
        self, place: Place, manifest: Manifest, digest: str, attestations: Iterable[str]
    ) -> tuple[str, ...]:
        """Return the names of those who vouch for a bundle. Raises the `TrustError` that keeps it out."""
        return judge(self._policy, place, (manifest, digest), attestations, now_s=self._clock()).names

    def _fail(self, error: LadingError) -> None:
        # Once for each cause, and not with every look at the file.
        if error.message != self.failure:
            self.failure = error.message
            log.error("the trust policy is not read again, the one before holds: %s", error.message)
