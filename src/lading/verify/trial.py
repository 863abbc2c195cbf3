"""The golden samples of a bundle in an environment of another lock: whether the answers stay.

What is seen is no evidence for the bundle, whose lock is part of its digest. Resolves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lading.bundle import Bundle
from lading.bundle.environment_lock import EnvironmentLock
from lading.errors import (
    DeadlineExceeded,
    EnvironmentFailed,
    ModelProcessEnded,
    RunError,
    VerificationError,
)
from lading.parity import Parity, compare, same_bits
from lading.runtime.open import load_runtime
from lading.runtime.python.host import PythonHost
from lading.runtime.python.open import build_environment, check_allowed

Answers = Literal["equal", "within", "other", "fails", "unbuilt"]
"""The same bits, within the tolerance, outside of it; or the model does not run, or has no environment."""

# Of the model in that environment: it does not load, or raises, or ends its process.
_OF_MODEL = (VerificationError, ModelProcessEnded, DeadlineExceeded, RunError)


@dataclass(frozen=True)
class Trial:
    """How a model answers in one environment.

    ``parity`` is the comparison with the golden outputs, None if it did not answer; ``reason`` is why then.
    """

    answers: Answers
    parity: Parity | None = None
    reason: str = ""

    @property
    def stays(self) -> bool:
        """Whether the bundle's promise would hold with this lock."""
        return self.answers in ("equal", "within")

    @property
    def worst(self) -> str:
        """The row that agrees least, or why there are no answers; empty if all are equal."""
        if self.parity is None:
            return self.reason
        return str(self.parity.worst[0]) if self.parity.worst else ""


def try_lock(bundle: Bundle, lock: EnvironmentLock, host: PythonHost) -> Trial:
    """Build the environment of `lock`, run the golden inputs of `bundle` there, and compare.

    Raises `CodeNotAllowed` before anything is built, and `EnvironmentPythonMissing`.
    """
    check_allowed(bundle.manifest, host.allow)
    host = replace(host, lock=lock)
    # Apart from the run: no environment says nothing about the answers.
    try:
        build_environment(bundle, host)
    except EnvironmentFailed as error:
        return Trial("unbuilt", reason=error.message)
    samples = bundle.samples()
    # All rows in one run, as when the golden outputs were made.
    try:
        runtime = load_runtime(bundle, python=host)
        try:
            answers = runtime.run(samples.inputs)
        finally:
            runtime.close()
    except _OF_MODEL as error:
        return Trial("fails", reason=error.message)
    manifest = bundle.manifest
    parity = compare(manifest.signature.outputs, samples.outputs, answers, manifest.tolerance)
    if not parity.holds:
        return Trial("other", parity)
    return Trial("equal" if same_bits(samples.outputs, answers) else "within", parity)
