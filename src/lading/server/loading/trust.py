"""The trust policy of a server: what it lets in, and what happens when the policy changes.

A version that was refused is tried again when the policy is another one, or somebody has attested more. One
that is loaded goes on answering: ending that is for people, who read of it in log, metrics and inventory.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lading.bundle import Bundle, Manifest
from lading.errors import LadingError, TrustError
from lading.registry.gate import Gate, open_gate
from lading.server.inference.trust import TrustFacts

if TYPE_CHECKING:
    from lading.server.loading.policy import Wanted

log = logging.getLogger("lading.server")


class PolicyChange(NamedTuple):
    """The digests of two policies of which one came after the other; ``before`` is empty at the start."""

    before: str
    after: str


class LoadGate:
    """Lets bundles be loaded by the policy in a file, which is read again when it changes."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.facts = TrustFacts(gate.path, gate.digest)
        # The last few: a task writes them into the history, and none may run.
        self.changes: deque[PolicyChange] = deque([PolicyChange("", gate.digest)], maxlen=16)
        self._seen: dict[tuple[str, int, str], tuple[str, ...]] = {}

    def check(self, wanted: Wanted, bundle: Bundle) -> None:
        """Raise the `TrustError` that keeps a bundle from being loaded."""
        texts = wanted.attested()
        self._seen[wanted.key] = tuple(texts)
        signers = self._gate.check("load", bundle.manifest, bundle.digest, texts)
        self.facts.objections.pop(wanted.key[:2], None)
        if signers:
            log.info("%s is let in, signed by %s", _label(wanted), ", ".join(signers))

    def reload(self) -> bool:
        """Read the policy again; return whether it is another one now."""
        before = self._gate.digest
        if not self._gate.reload():
            return False
        after = self._gate.digest
        self.facts.digest = after
        self.changes.append(PolicyChange(before, after))
        log.warning("the trust policy has changed: `%s` is %s now, it was %s", self._gate.path, after, before)
        return True

    def has_more(self, wanted: Wanted) -> bool:
        """Return whether something was attested about a version since it was refused."""
        try:
            return tuple(wanted.attested()) != self._seen.get(wanted.key, ())
        except LadingError:
            return False  # A catalog that is unreachable has nothing new to say.

    def review(self, loaded: Sequence[tuple[Wanted, Manifest]]) -> None:
        """State which of the loaded versions the policy would not let in now."""
        objections: dict[tuple[str, int], str] = {}
        for wanted, manifest in loaded:
            try:
                self._gate.check("load", manifest, wanted.digest, wanted.attested())
            except TrustError as error:
                objections[wanted.key[:2]] = error.message
                log.error(  # noqa: TRY400 - the sentence says it all
                    "%s goes on, loaded before: %s", _label(wanted), error.message
                )
            except LadingError as error:
                log.warning("cannot look up what is attested about %s: %s", wanted.name, error.message)
        self.facts.objections = objections


def load_gate(policy: str, *, speaks: bool = True) -> LoadGate | None:
    """Return the gate of a policy file, or None without one, which the process that `speaks` logs once.

    Raises `InvalidSetting` and `KeyInvalid`.
    """
    gate = open_gate(policy)
    if gate is None:
        if speaks:
            log.info("no trust policy: any bundle is let in, whatever its packer (`--trust-policy FILE`)")
        return None
    if speaks:
        log.info("trust policy `%s`, %s", gate.path, gate.digest)
    return LoadGate(gate)


def _label(wanted: Wanted) -> str:
    return f"{wanted.name}:{wanted.version}" if wanted.version else wanted.name
