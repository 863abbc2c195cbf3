"""What sets the number of pods; every query is evaluated by a real Prometheus over a real server."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import yaml

from lading.deploy import Scaling
from lading.deploy.kubernetes import manifests
from lading.deploy.scaling import (
    IN_FLIGHT_METRIC,
    QUEUE_METRIC,
    autoscaler,
    in_flight_query,
    queue_query,
)
from lading.deploy.yamltext import plain
from lading.errors import InvalidSetting
from support.guides import GUIDES, blocks
from support.large_models import matrix
from support.prometheus_servers import needed, prometheus, query
from support.server_process import serving
from support.waiting import wait_until
from support.workloads import by_kind, work

URL = "http://prometheus.monitoring.svc:9090"
POD = "iris-7d9f8b6c5-x2k4q"


def scaled(by: str, side: str = "live", **chosen: Any) -> Any:
    return plain(autoscaler(work(side=side, scaling=Scaling(by=by, **chosen))))


def metric_names(scaler: Any) -> list[str]:
    metrics = scaler["spec"]["metrics"]
    return [
        metric["pods"]["metric"]["name"] if metric["type"] == "Pods" else metric["resource"]["name"]
        for metric in metrics
    ]


def test_by_default_three_to_ten_pods_follow_their_cpu():
    spec = scaled("cpu")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 10)
    assert metric_names(scaled("cpu")) == ["cpu"]


def test_an_autoscaler_reads_cpu_and_metrics_of_lading():
    scaler = scaled("hpa", min_pods=2, max_pods=6)
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 6)
    # A model whose runs are short never has a request in flight: CPU must stay.
    assert metric_names(scaler) == ["cpu", IN_FLIGHT_METRIC, QUEUE_METRIC]


def test_keda_replaces_the_autoscaler_and_asks_prometheus():
    made = by_kind(manifests(work(scaling=Scaling(by="keda", prometheus=URL))))
    assert "HorizontalPodAutoscaler" not in made
    spec = made["ScaledObject"]["spec"]
    assert spec["scaleTargetRef"]["name"] == made["Deployment"]["metadata"]["name"]
    assert [trigger["type"] for trigger in spec["triggers"]] == ["prometheus", "prometheus", "cpu"]
    assert {trigger["metadata"].get("serverAddress", URL) for trigger in spec["triggers"]} == {URL}
    # KEDA falls back only if a trigger is averaged over pods, and then never below what runs.
    assert spec["triggers"][0]["metricType"] == "AverageValue"
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"


@pytest.mark.parametrize(("by", "least"), [("cpu", "minReplicas"), ("keda", "minReplicaCount")])
def test_a_candidate_starts_with_one_pod(by, least):
    assert scaled(by, "candidate", prometheus=URL)["spec"][least] == 1


def test_no_pod_at_all_needs_a_query_that_knows_of_requests_without_one():
    with pytest.raises(InvalidSetting, match="without a pod no metric asks for the first"):
        Scaling(by="keda", min_pods=0, prometheus=URL)
    spec = scaled("keda", min_pods=0, prometheus=URL, wake_query='sum(rate(requests{route="iris"}[1m]))')[
        "spec"
    ]
    assert spec["minReplicaCount"] == 0
    assert spec["fallback"]["replicas"] == 1
    assert "requests" in spec["triggers"][-1]["metadata"]["query"]


@pytest.mark.parametrize(
    "chosen",
    [{"min_pods": 0}, {"min_pods": 4, "max_pods": 3}, {"by": "keda"}, {"min_pods": 0, "wake_query": "x"}],
)
def test_what_could_not_scale_is_refused(chosen):
    with pytest.raises(InvalidSetting):
        Scaling(**chosen)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (POD, True),
        ("iris-canary-7d9f8b6c5-x2k4q", False),
        ("iris-batch-29381230-x2k4q", False),
        ("iris-0", False),
    ],
)
def test_queries_are_of_the_pods_of_one_side_alone(pod, expected):
    pattern = re.search(r'pod=~"([^"]+)"', in_flight_query(work()))
    assert pattern is not None
    # PromQL matches whole values.
    assert bool(re.fullmatch(pattern.group(1), pod)) is expected


def adapter_rules() -> list[Any]:
    """Return the rules for prometheus-adapter of the guide."""
    (text,) = [text for _, text in blocks(GUIDES / "kubernetes.md") if "seriesQuery" in text]
    rules: list[Any] = yaml.safe_load(text)["rules"]["custom"]
    return rules


def adapted(rule: Any) -> str:
    """Return the query of a rule as prometheus-adapter fills it in for a pod."""
    matchers = f'namespace="models",pod="{POD}"'
    written: str = rule["metricsQuery"]
    return written.replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", "pod")


def test_the_rules_of_the_guide_make_the_metrics_that_the_autoscaler_names():
    assert [rule["name"]["as"] for rule in adapter_rules()] == [IN_FLIGHT_METRIC, QUEUE_METRIC]


@needed("prometheus")
@pytest.mark.slow
@pytest.mark.wide
def test_every_query_has_one_value_while_idle_and_rises_under_load(tmp_path):
    queries = [in_flight_query(work()), queue_query(work()), *map(adapted, adapter_rules())]
    slow = matrix(tmp_path / "iris.bundle", rows=3000, columns=3000)
    body = json.dumps({"data": [[0.5] * 3000] * 8})
    headers = {"content-type": "application/json"}
    with (
        serving(slow.path, flags=("--grpc-port", "-1", "--threads", "1")) as server,
        prometheus(tmp_path, server.url, labels={"namespace": "models", "pod": POD}) as url,
        ThreadPoolExecutor(4) as threads,
    ):

        def values() -> list[float]:
            series = [query(url, each) for each in queries]
            return [float(row["value"][1]) for rows in series for row in rows]

        # While idle as well: an autoscaler takes no pod away while one of its metrics is missing.
        wait_until(lambda: values()[-2:] == [0.0, 0.0], 30)
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                httpx.post(f"{server.url}/predict", content=body, headers=headers, timeout=60)

        asking = [threads.submit(ask) for _ in range(4)]
        try:
            wait_until(lambda: len(values()) == 4 and all(value > 0 for value in values()), 60, values)
        finally:
            done.set()
        for each in asking:
            each.result()
