"""What a release or rollback reports about its proof."""

from __future__ import annotations

import msgspec

from lading.cli.ui.release_report import proof_text
from lading.release import Plan
from lading.rollout.by_hand import is_live
from lading.runtime.host.fingerprint import fingerprint
from support.recorded_evidence import ELSEWHERE, record_evidence


def test_a_version_is_live_once_its_release_has_ended(proved):
    first = proved.releases.begin("iris", 1, Plan(mode="live"), actor="ada")
    canary = proved.releases.begin("iris", 2, Plan(mode="canary"), actor="ada")
    assert is_live(first, 1)
    assert not is_live(first, 2)
    assert not is_live(canary, 1)


def test_the_proof_is_that_of_the_recorded_runtime(opened):
    record_evidence(opened, "iris:1")
    release = opened.releases.begin("iris", 1, Plan(mode="live"), actor="ada", runtime=ELSEWHERE.id)
    machine = "ONNX Runtime 1.17.0, Python 3.10.1, debian 11 aarch64"
    assert proof_text(opened, release, None) == f"proved on {machine} ({ELSEWHERE.id})"
    unknown = msgspec.structs.replace(release, runtime=fingerprint().id)
    assert proof_text(opened, unknown, None) == f"proved on runtime {fingerprint().id}"
    assert proof_text(opened, msgspec.structs.replace(release, runtime=None), None) == "already serving"
