"""Whether a bundle holds on this machine: every check in order, as evidence (docs/reference/verify.md).

Records nothing (the registry does) and fetches nothing. A failed check is in the evidence, not raised.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lading.bundle import Bundle
from lading.clock import iso_time
from lading.evidence import Evidence
from lading.gates import Gates, judge
from lading.runtime.host.cpus import cpu_limit
from lading.runtime.host.fingerprint import fingerprint
from lading.runtime.python.host import DEFAULT_HOST, PythonHost
from lading.verify.checks import Report
from lading.verify.golden_replay import replay, replay_alone

__all__ = ["CHECKS", "Measured", "replay", "replay_alone", "verify"]

CHECKS = (
    "files",
    "format",
    "onnx",
    "opset",
    "session",
    "signature",
    "golden",
    "batch",
    "latency",
    "memory",
    "size",
    "environment",
)
"""The names of the checks in the order in which they run; gates come after them under their own names."""

TIMEOUT_S = 600.0
"""How long all checks that run the model may take together."""


class Measured(Protocol):
    """The metrics of a version; the registry's `ModelVersion` has them."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics by name."""
        ...


def verify(
    bundle: Bundle | Path | str,
    *,
    gates: Gates | None = None,
    live: Measured | None = None,
    threads: int = 0,
    timeout_s: float = TIMEOUT_S,
    python: PythonHost = DEFAULT_HOST,
) -> Evidence:
    """Run every check of a bundle here and return the evidence; it holds if none failed.

    A bundle that is open is opened again, so that its files are read now. `live` is the version that
    serves, which some gates compare with; ``threads=0`` means the CPUs of the cgroup. A check is skipped if
    one that it depends on did not pass. `python` says whether a bundle's own code may
    run, and how. The model runs in processes of their own, `timeout_s` in all: one
    that crashes or does not end fails the check of that step. Raises `ExtraMissing` without ONNX Runtime.
    """
    here = fingerprint()
    report = Report()
    opened = report.open(bundle)
    if opened is not None:
        report.examine(opened, threads or cpu_limit(), timeout_s, python)
    else:
        report.skip(CHECKS[CHECKS.index("onnx") :], because="the bundle could not be opened")
    checks = list(report.checks)
    # A gate fails on a number that was not measured; without an open bundle there are no metrics to judge.
    if gates is not None and opened is not None:
        checks += judge(gates, report.numbers, opened.manifest.metrics, live.metrics if live else None)
    digest, name = report.identity(bundle)
    return Evidence(
        bundle=digest,
        name=name,
        fingerprint=here,
        checks=tuple(checks),
        numbers=report.numbers,
        measured_at=iso_time(time.time(), utc="+00:00"),
        worst=report.worst,
    )
