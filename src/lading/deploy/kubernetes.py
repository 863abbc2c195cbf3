"""Manifests of one model for Kubernetes: namespace, Deployment, Service and protection.

Pure functions of a `Workload`. Applies nothing (``cluster`` does), splits no traffic (``canary`` does) and
does not say how many pods run (``scaling`` does).
"""

from __future__ import annotations

from typing import Any

from lading.deploy import Workload, object_name
from lading.deploy.pod import GRPC_PORT, HTTP_PORT, metadata, pod_spec, selector
from lading.deploy.scaling import autoscaler
from lading.deploy.secrets import service_monitor
from lading.deploy.yamltext import Noted

REGISTRY_PORTS = (443, 5000, 5432, 9000)
"""HTTPS, OCI registries, PostgreSQL and self-hosted S3."""


def manifests(work: Workload) -> list[Any]:
    """Return all manifests of a model, in the order to apply them."""
    return [
        namespace(work),
        network_policy(work),
        deployment(work),
        service(work),
        autoscaler(work),
        disruption_budget(work),
        *([service_monitor(work)] if work.options.metrics_secret else []),
    ]


def namespace(work: Workload) -> Any:
    """Return the namespace, which refuses pods with more rights than these."""
    why = "The cluster itself refuses pods here that want root, host paths or capabilities."
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": work.options.namespace,
            "labels": {"pod-security.kubernetes.io/enforce": Noted("restricted", why)},
        },
    }


def deployment(work: Workload) -> Any:
    """Return the Deployment."""
    labels = {**selector(work), "app.kubernetes.io/version": str(work.version.version)}
    return Noted(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata(work), "annotations": version_annotations(work)},
            "spec": {
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {
                        "maxSurge": 1,
                        "maxUnavailable": Noted(
                            0,
                            "A pod is removed only after a new one is ready: "
                            "a model that fails its proof stops the rollout here.",
                        ),
                    },
                },
                "minReadySeconds": 5,
                # Longer than the startup probe waits (`pod.START_TIMEOUT_S`), which then says what is wrong.
                "progressDeadlineSeconds": 600,
                "revisionHistoryLimit": 5,
                "selector": {"matchLabels": selector(work)},
                "template": {
                    "metadata": {"labels": labels, "annotations": version_annotations(work)},
                    "spec": pod_spec(work),
                },
            },
        },
        "No `replicas`: the autoscaler decides, and applying this file again must not undo its decision.",
    )


def service(work: Workload) -> Any:
    """Return the Service, for REST and gRPC."""
    rest = "https" if work.options.tls_secret else "http"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(work),
        "spec": {
            "selector": selector(work),
            "ports": [
                # Gateways and meshes choose the protocol by `appProtocol`.
                {"name": "http", "port": HTTP_PORT, "targetPort": "http", "appProtocol": rest},
                {
                    "name": "grpc",
                    "port": GRPC_PORT,
                    "targetPort": "grpc",
                    "appProtocol": Noted(
                        "kubernetes.io/h2c",
                        "So that gateways use HTTP/2. Without a gateway, a gRPC client stays "
                        "connected to one pod: use a headless Service and client-side round robin.",
                    ),
                },
            ],
        },
    }


def disruption_budget(work: Workload) -> Any:
    """Return the disruption budget, which limits how many pods a node drain may remove."""
    # Only drains and other voluntary evictions count; rollouts are limited by the Deployment.
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(work),
        "spec": {
            "maxUnavailable": Noted(
                1, "Not minAvailable, which would block every drain while only that many run."
            ),
            "unhealthyPodEvictionPolicy": Noted(
                "AlwaysAllow", "Pods that were never ready serve nobody and must not block a node."
            ),
            "selector": {"matchLabels": selector(work)},
        },
    }


def network_policy(work: Workload) -> Any:
    """Return what may connect to the pods of both sides of a model, and what they may connect to."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        # One policy for both sides of a canary, with the model's own name.
        "metadata": {**metadata(work), "name": object_name(work.model)},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": work.model}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": Noted(
                        [{"namespaceSelector": {}}],
                        "Every pod of this cluster; name your gateway's namespace to be stricter. "
                        "Probes are always allowed.",
                    ),
                    "ports": [tcp("http"), tcp("grpc")],
                }
            ],
            "egress": egress(work),
        },
    }


def version_annotations(work: Workload) -> dict[str, Any]:
    """Return annotations that describe the version, with the same keys as the image's labels."""
    version = work.version
    return {
        "com.lading.name": version.name,
        "com.lading.version": str(version.version),
        "com.lading.digest": version.digest,
        "com.lading.purpose": version.purpose,
        "com.lading.owner": version.owner,
    }


def egress(work: Workload) -> Any:
    """Return what pods may connect to: nothing without a Secret, else names, catalog and store."""
    if not work.options.secret:
        return Noted(
            [], "Nothing at all: the bundle is in the image, and the server depends on nothing else."
        )
    # Names have to be resolved before anything can be connected to.
    dns = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return [
        {"ports": dns},
        {
            "ports": Noted(
                [tcp(port) for port in REGISTRY_PORTS],
                "Catalog and store; add `to` with their addresses and remove the ports you do not use.",
            )
        },
    ]


def tcp(port: str | int) -> dict[str, Any]:
    """Return a port of a network policy."""
    return {"port": port, "protocol": "TCP"}
