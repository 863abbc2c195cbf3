"""What every process that scores has to know, on this machine or on another. Scores nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from lading.batch.plan import Plan
from lading.batch.scoring import Scorer
from lading.bundle import Bundle
from lading.runtime.python.host import PythonHost


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine of a cluster that was let near no row, and why: what it answers would be wrong or lost."""

    node: str
    reason: str


@dataclass(frozen=True)
class Work:
    """A bundle by its folder and digest, the plan, and ``parts``: the folder or URL that parts go to.

    Inputs and parts at ``s3://…`` are reached from any machine, with the credentials that it has itself.
    ``address`` is that of the cluster, for engines that have one; empty, they find it by their own means.
    """

    bundle: Path
    digest: str
    plan: Plan
    parts: Path | str
    python: PythonHost
    address: str = ""

    def scorer(self) -> Scorer:
        """Open the bundle and have it prove itself in this process. Raises what opening and loading raise."""
        return Scorer(Bundle.open(self.bundle, digest=self.digest), self.plan, self.python)
