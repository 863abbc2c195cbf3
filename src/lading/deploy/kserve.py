"""The same pod under KServe: a ServingRuntime for the server and an InferenceService for the model.

For clusters with KServe, which creates Deployment, Service and autoscaler itself. Its storage initializer is
not used: the bundle is in the image, or `lading pull` fetches and checks it.
"""

from __future__ import annotations

from typing import Any

from lading.deploy import Workload
from lading.deploy.kubernetes import namespace, network_policy, version_annotations
from lading.deploy.pod import HTTP_PORT, pod_spec, server_container
from lading.deploy.yamltext import Noted

CONTAINER = "kserve-container"
_RUNTIME_FIELDS = ("containers", "volumes", "imagePullSecrets")


def kserve_manifests(work: Workload) -> list[Any]:
    """Return the namespace, the network policy, and the two manifests of KServe."""
    return [namespace(work), network_policy(work), serving_runtime(work), inference_service(work)]


def serving_runtime(work: Workload) -> Any:
    """Return the ServingRuntime."""
    # KServe merges the pod of both objects: volumes and containers here, the rest in the InferenceService.
    spec = pod_spec(work)
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": f"lading-{work.name}", "namespace": work.options.namespace},
        "spec": {
            # KServe adds these to the pods, for clusters that scrape by annotation.
            "annotations": {
                "prometheus.kserve.io/port": str(HTTP_PORT),
                "prometheus.kserve.io/path": "/metrics",
            },
            "supportedModelFormats": [
                {
                    "name": "lading",
                    "version": "1",
                    "autoSelect": Noted(False, "It holds one model: KServe must not assign others to it."),
                }
            ],
            "protocolVersions": ["v2", "grpc-v2"],
            "containers": Noted(
                [server_container(work, CONTAINER)], f"KServe looks for the name {CONTAINER}."
            ),
            **{key: spec[key] for key in ("imagePullSecrets", "volumes") if key in spec},
        },
    }


def inference_service(work: Workload) -> Any:
    """Return the InferenceService."""
    pod_fields = {key: value for key, value in pod_spec(work).items() if key not in _RUNTIME_FIELDS}
    # Their selectors would have to match labels that KServe chooses when it creates the Deployment.
    del pod_fields["topologySpreadConstraints"]
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": work.name,
            "namespace": work.options.namespace,
            "labels": {"app.kubernetes.io/name": work.model, "app.kubernetes.io/managed-by": "lading"},
            "annotations": {
                **version_annotations(work),
                "serving.kserve.io/deploymentMode": Noted(
                    "RawDeployment", "Deployment and HPA, not Knative."
                ),
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": work.options.scaling.min_pods,
                "maxReplicas": work.options.scaling.max_pods,
                "scaleMetric": "cpu",
                "scaleTarget": 50,
                **pod_fields,
                "model": {
                    "modelFormat": {"name": "lading"},
                    "protocolVersion": "v2",
                    "runtime": f"lading-{work.name}",
                },
            }
        },
    }
