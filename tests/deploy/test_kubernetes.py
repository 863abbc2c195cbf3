"""The manifests of one model: what they are, and what its pods may connect to."""

from __future__ import annotations

import pytest

from lading.deploy.kubernetes import manifests
from lading.deploy.yamltext import plain
from support.workloads import by_kind, work


@pytest.mark.parametrize("pattern", ["in-image", "load"])
def test_a_model_has_these_manifests_in_the_order_to_apply_them(pattern):
    kinds = [manifest["kind"] for manifest in plain(manifests(work(pattern)))]
    assert kinds == [
        "Namespace",
        "NetworkPolicy",
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ]


def test_a_rollout_removes_no_pod_before_a_new_one_is_ready():
    spec = by_kind(manifests(work()))["Deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "replicas" not in spec


def test_a_model_in_its_image_may_connect_nowhere_and_one_that_loads_only_to_its_registry():
    assert by_kind(manifests(work("in-image")))["NetworkPolicy"]["spec"]["egress"] == []
    rules = by_kind(manifests(work("load")))["NetworkPolicy"]["spec"]["egress"]
    ports = [port["port"] for rule in rules for port in rule["ports"]]
    assert ports == [53, 53, 443, 5000, 5432, 9000]


def test_the_labels_of_selectors_do_not_change_between_versions():
    first, second = (by_kind(manifests(work(number=number)))["Deployment"]["spec"] for number in (1, 2))
    assert first["selector"] == second["selector"]
    assert first["template"]["metadata"] != second["template"]["metadata"]
