"""How many pods serve a model: by their CPU, or also by what lading itself counts.

An autoscaler of Kubernetes reads lading's metrics through prometheus-adapter, KEDA reads Prometheus itself.
Scrapes nothing and installs neither.
"""

from __future__ import annotations

from typing import Any

from lading.deploy import Workload
from lading.deploy.pod import metadata
from lading.deploy.yamltext import Noted

CPU_PERCENT = 50
IN_FLIGHT = 4
"""Requests waiting or running per pod; a pod of one CPU that has four of them at all times is behind."""
QUEUE_MS = 20
IN_FLIGHT_METRIC, QUEUE_METRIC = "lading_in_flight", "lading_queue_seconds_mean"
"""Names in the API of custom metrics; the guide to Kubernetes has the rules that make them."""
WINDOW = "1m"
POLL_S, COOLDOWN_S = 15, 300


def autoscaler(work: Workload) -> Any:
    """Return what sets the number of pods; a candidate starts with one and grows with its share."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": work.name}
    if work.options.scaling.by == "keda":
        return _scaled_object(work, target)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(work),
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": _least(work),
            "maxReplicas": work.options.scaling.max_pods,
            "metrics": [_cpu(), *(_own_metrics() if work.options.scaling.by == "hpa" else [])],
        },
    }


def _least(work: Workload) -> Any:
    if work.side == "candidate":
        return Noted(1, "It grows with its share of the traffic.")
    return work.options.scaling.min_pods


def _cpu() -> dict[str, Any]:
    percent = Noted(CPU_PERCENT, "Of the request; the other half is for peaks.")
    return {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
    }


def _own_metrics() -> list[Any]:
    """Return lading's metrics. Of several, an autoscaler follows the one that asks for the most pods."""
    waiting = Noted(
        _of_pods(IN_FLIGHT_METRIC, str(IN_FLIGHT)),
        "Requests that wait for the model or run, per pod. A model whose runs are short never has any: "
        "then the CPU above decides.",
    )
    queue = Noted(
        _of_pods(QUEUE_METRIC, f"{QUEUE_MS}m"),
        f"Mean time in the queue over {WINDOW}, in seconds: more than {QUEUE_MS} ms are felt.",
    )
    return [waiting, queue]


def _of_pods(name: str, average: str) -> dict[str, Any]:
    return {
        "type": "Pods",
        "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": average}},
    }


def _scaled_object(work: Workload, target: dict[str, Any]) -> Any:
    scaling = work.options.scaling
    least = _least(work)
    # Counts only for the step from the last pod to none; above that, the autoscaler that KEDA makes decides.
    asleep = {"cooldownPeriod": Noted(COOLDOWN_S, "Without a request for so long, the last pod goes too.")}
    if least == 0:
        least = Noted(0, "Requests that come to no pod are not kept: a gateway answers them 503 meanwhile.")
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(work),
        "spec": {
            "scaleTargetRef": target,
            "minReplicaCount": least,
            "maxReplicaCount": scaling.max_pods,
            "pollingInterval": POLL_S,
            **(asleep if scaling.min_pods == 0 and work.side == "live" else {}),
            "fallback": Noted(
                {
                    "failureThreshold": 4,
                    "replicas": max(1, scaling.min_pods),
                    "behavior": "currentReplicasIfHigher",
                },
                "While Prometheus does not answer, no pod is taken away.",
            ),
            "triggers": _triggers(work),
        },
    }


def _triggers(work: Workload) -> list[Any]:
    scaling = work.options.scaling
    # KEDA's own metrics API divides what is not `Value` by the number of pods.
    triggers: list[Any] = [
        _query(in_flight_query(work), IN_FLIGHT, scaling.prometheus, "AverageValue"),
        _query(queue_query(work), QUEUE_MS / 1000, scaling.prometheus, "Value"),
        {"type": "cpu", "metricType": "Utilization", "metadata": {"value": str(CPU_PERCENT)}},
    ]
    if scaling.wake_query:
        # A threshold that is never reached: this query decides between none and one, and nothing more.
        wake = _query(scaling.wake_query, 1_000_000, scaling.prometheus, "AverageValue")
        why = "Only wakes: above 0 there is a pod, and the triggers above say how many more."
        triggers.append(Noted(wake, why))
    return triggers


def _query(query: str, threshold: float, prometheus: str, kind: str) -> dict[str, Any]:
    settings = {"serverAddress": prometheus, "query": query, "threshold": f"{threshold:g}"}
    return {
        "type": "prometheus",
        "metricType": kind,
        # No series is no request: that is 0 and not an error.
        "metadata": {**settings, "activationThreshold": "0", "ignoreNullValues": "true"},
    }


def in_flight_query(work: Workload) -> str:
    """Return the query for the requests that all pods of one side have in flight."""
    return f"sum({IN_FLIGHT_METRIC}{{{_pods(work)}}})"


def queue_query(work: Workload) -> str:
    """Return the query for the mean time in the queue of the requests to one side, in seconds."""
    total, count = (
        f"sum(rate(lading_queue_seconds_{end}{{{_pods(work)}}}[{WINDOW}]))" for end in ("sum", "count")
    )
    # Without a request in the window: 0 / 1e-9 and not 0 / 0, which is no number.
    return f"{total} / clamp_min({count}, 1e-9)"


def _pods(work: Workload) -> str:
    # By the pods of the Deployment and not by the version: while a rollout goes on, both versions serve.
    return f'namespace="{work.options.namespace}",pod=~"{work.name}-[a-z0-9]+-[a-z0-9]{{5}}"'
