"""The same pod under KServe."""

from __future__ import annotations

from lading.deploy.kserve import kserve_manifests
from lading.deploy.kubernetes import manifests
from support.workloads import by_kind, server_of, work


def test_kserve_runs_the_same_container_with_the_same_rights():
    kserve = by_kind(kserve_manifests(work()))
    (server,) = kserve["ServingRuntime"]["spec"]["containers"]
    assert {**server, "name": "server"} == server_of(manifests(work()))
    predictor = kserve["InferenceService"]["spec"]["predictor"]
    assert predictor["initContainers"][0]["args"][0] == "pull"
    assert predictor["automountServiceAccountToken"] is False
    assert predictor["model"]["runtime"] == kserve["ServingRuntime"]["metadata"]["name"]
