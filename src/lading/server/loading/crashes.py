"""A version whose runs have crashed worker processes: the error that it fails with, and the evidence."""

from __future__ import annotations

import logging

import msgspec

from lading.clock import iso_time
from lading.errors import LadingError, ModelCrashed
from lading.evidence import Check, Evidence
from lading.onnx_runtime import import_onnxruntime
from lading.runtime.host.fingerprint import fingerprint
from lading.runtime.host.signals import name_of_signal
from lading.server.loading.policy import EvidenceBook
from lading.verify.isolation import EXPECTED_END

log = logging.getLogger("lading.server")

WITHIN_S = 60.0
"""Crashes of one version that are further apart have nothing to do with each other."""

_STEP = "serve"


class Crash(msgspec.Struct, frozen=True):
    """What is known of a version that is taken out: how often it crashed, by which signal, and until when.

    ``at`` is a Unix time.
    """

    name: str
    version: int
    digest: str
    signal: int
    times: int
    at: float

    @property
    def label(self) -> str:
        """The version as a reference."""
        return f"{self.name}:{self.version}" if self.version else self.name

    def error(self) -> ModelCrashed:
        """Return what the version fails with."""
        ending = f"that answering requests ended with {name_of_signal(self.signal)} in ONNX Runtime "
        often = f"{import_onnxruntime().__version__}, {self.times} times within {WITHIN_S:g} s"
        return ModelCrashed(
            f"`{self.label}`",
            expected=EXPECTED_END,
            found=ending + often,
            hint="no process survives this; export the model without the operator that causes it",
        )


def record(crash: Crash, book: EvidenceBook) -> None:
    """Store the crash as evidence, unless another worker has, or somebody has verified the bundle since."""
    error, here = crash.error(), fingerprint()
    at = iso_time(crash.at, utc="+00:00")
    check = Check(_STEP, "failed", error.expected or "", error.found or "", error.hint or "")
    try:
        for evidence in book.evidence(crash.digest):
            if evidence.fingerprint.id == here.id and evidence.measured_at >= at:
                return
        book.record(
            Evidence(
                bundle=crash.digest,
                name=crash.name,
                fingerprint=here,
                checks=(check,),
                numbers={},
                measured_at=at,
            )
        )
    except LadingError as failure:
        # The version is out of traffic here all the same; every server finds out for itself.
        log.warning("the crash of %s is not recorded: %s", crash.label, failure.message)
