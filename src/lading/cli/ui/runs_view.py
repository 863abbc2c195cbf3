"""How it is shown what a bundle runs: what of its own, and the environment that it needs for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lading import units
from lading.cli.ui import printing

if TYPE_CHECKING:
    from lading.bundle import Manifest
    from lading.registry import ModelVersion, Registry

RUNS_HEADER = ("executes", "environment")
# That of `lading.replica`, which the commands do not import before they run.
UNKNOWN = "unknown"


class Runs(NamedTuple):
    """What loading a bundle executes of its own, the digest of its environment's lock, and its Python.

    ``executes`` is ``no``, ``code`` or ``pickle``; a bundle that runs in no Python has no environment.
    """

    executes: str = UNKNOWN
    environment: str = ""
    python: str = ""

    @property
    def row(self) -> tuple[str, str]:
        """The cells under `RUNS_HEADER`."""
        return self.executes, self.environment_text

    @property
    def environment_text(self) -> str:
        """The environment in a few words."""
        if self.executes == UNKNOWN:
            return UNKNOWN
        return f"{units.short_digest(self.environment)} py{self.python}" if self.environment else "–"

    def as_json(self) -> dict[str, str]:
        """Return it as JSON output has it."""
        return self._asdict()


def runs_of(manifest: Manifest | None) -> Runs:
    """Return what the bundle of a manifest runs; of none, that it is unknown."""
    if manifest is None:
        return Runs()
    return Runs(manifest.executes_text, manifest.lock_digest, manifest.python)


def stored_runs(registry: Registry, versions: Sequence[ModelVersion]) -> list[Runs]:
    """Return what each version runs, as its bundle in the store states; unknown while that cannot be read."""
    manifests = registry.manifests(versions)
    if None in manifests:
        printing.info("what some versions execute is unknown: the store could not be read")
    return [runs_of(manifest) for manifest in manifests]
