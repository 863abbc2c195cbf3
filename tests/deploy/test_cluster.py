"""Applying manifests: order, names, and a kubeconfig that cannot be used."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from lading.deploy import Scaling
from lading.deploy.batch import BatchJob, batch_manifests
from lading.deploy.cluster import PATHS, KubernetesCluster, apply_all
from lading.deploy.kserve import kserve_manifests
from lading.deploy.kubernetes import manifests
from lading.deploy.yamltext import plain
from lading.errors import ExtraMissing, RemoteError
from support.workloads import canary, work


class RecordingCluster:
    """A cluster that records what is applied, and refuses one kind."""

    where = "https://cluster.lan"

    def __init__(self, refused: str = "") -> None:
        self.applied: list[str] = []
        self._refused = refused

    def apply(self, manifest: dict) -> None:
        if manifest["kind"] == self._refused:
            raise RemoteError("apply", status=403)
        self.applied.append(manifest["kind"])

    def patch(self, manifest: dict, patch: dict) -> None:
        raise NotImplementedError


def test_manifests_are_applied_in_order_and_named_as_kubectl_names_them():
    cluster = RecordingCluster()
    names = apply_all(cluster, plain(canary()))
    assert names[0] == "namespace/models"
    assert names[-1] == "httproute/iris"
    assert cluster.applied == [manifest["kind"] for manifest in plain(canary())]


def test_applying_stops_at_the_first_refusal():
    cluster = RecordingCluster(refused="Service")
    with pytest.raises(RemoteError):
        apply_all(cluster, plain(canary()))
    assert cluster.applied == ["Namespace", "NetworkPolicy", "Deployment"]


def test_every_kind_that_lading_writes_has_a_path():
    run = BatchJob(inputs=("s3://lake/in",), output="s3://lake/out")
    nightly = replace(run, schedule="0 3 * * *")
    scaling = Scaling(by="keda", prometheus="http://prometheus.lan:9090")
    scaled = work(scaling=scaling, metrics_secret="scrape")
    made = [*canary(), *kserve_manifests(work()), *manifests(scaled)]
    made += [*batch_manifests(work(), run), *batch_manifests(work(), nightly)]
    assert {manifest["kind"] for manifest in plain(made)} == set(PATHS)


def test_without_the_client_the_error_names_the_extra_and_kubectl(monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(ExtraMissing) as caught:
        KubernetesCluster()
    assert "kubectl apply --server-side -f -" in caught.value.hint
