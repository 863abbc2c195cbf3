"""What every process that scores has to know, on this machine or on another. Scores nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lading.batch.plan import Plan
from lading.batch.scoring import Scorer
from lading.bundle import Bundle
from lading.runtime.python.host import PythonHost


@dataclass(frozen=True)
class Work:
    """A bundle by its folder and digest, the plan, and ``parts``: the folder that parts are written to."""

    bundle: Path
    digest: str
    plan: Plan
    parts: Path
    python: PythonHost

    def scorer(self) -> Scorer:
        """Open the bundle and have it prove itself in this process. Raises what opening and loading raise."""
        return Scorer(Bundle.open(self.bundle, digest=self.digest), self.plan, self.python)
