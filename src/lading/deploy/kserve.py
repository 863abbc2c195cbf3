"""The same pod under KServe: a ServingRuntime, the server, and an InferenceService, the model.

For clusters that have KServe; it then makes Deployment, Service and autoscaler itself. Its storage
initializer is not used: the bundle is in the image, or `lading pull` fetches and checks it.
"""

from __future__ import annotations

from typing import Any

from lading.deploy import Workload
from lading.deploy.kubernetes import LEAST_PODS, MOST_PODS, about, namespace, network_policy
from lading.deploy.pod import HTTP_PORT, pod_spec, server
from lading.deploy.yamltext import Noted

CONTAINER = "kserve-container"
_OF_RUNTIME = ("containers", "volumes", "imagePullSecrets")


def kserve_manifests(work: Workload) -> list[Any]:
    """Return namespace and network policy, and the two of KServe."""
    return [namespace(work), network_policy(work), serving_runtime(work), inference_service(work)]


def serving_runtime(work: Workload) -> Any:
    """Return the ServingRuntime."""
    spec = pod_spec(work)
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": f"lading-{work.name}", "namespace": work.options.namespace},
        "spec": {
            "annotations": {
                "prometheus.kserve.io/port": str(HTTP_PORT),
                "prometheus.kserve.io/path": "/metrics",
            },
            "supportedModelFormats": [
                {
                    "name": "lading",
                    "version": "1",
                    "autoSelect": Noted(False, "It has one model in it: others must not be given to it."),
                }
            ],
            "protocolVersions": ["v2", "grpc-v2"],
            "containers": Noted([server(work, CONTAINER)], f"KServe looks for the name {CONTAINER}."),
            **{key: spec[key] for key in ("imagePullSecrets", "volumes") if key in spec},
        },
    }


def inference_service(work: Workload) -> Any:
    """Return the InferenceService."""
    of_pod = {key: value for key, value in pod_spec(work).items() if key not in _OF_RUNTIME}
    # Its selectors are KServe's own, which nobody knows before it has made the Deployment.
    del of_pod["topologySpreadConstraints"]
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": work.name,
            "namespace": work.options.namespace,
            "labels": {"app.kubernetes.io/name": work.model, "app.kubernetes.io/managed-by": "lading"},
            "annotations": {
                **about(work),
                "serving.kserve.io/deploymentMode": Noted(
                    "RawDeployment", "Deployment and HPA, not Knative."
                ),
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": LEAST_PODS,
                "maxReplicas": MOST_PODS,
                "scaleMetric": "cpu",
                "scaleTarget": 50,
                **of_pod,
                "model": {
                    "modelFormat": {"name": "lading"},
                    "protocolVersion": "v2",
                    "runtime": f"lading-{work.name}",
                },
            }
        },
    }
