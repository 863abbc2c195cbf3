"""Applies manifests to a cluster: a contract of two calls, implemented with the official client.

Uses server-side apply: the cluster merges, and knows which fields are lading's. Watches nothing and deletes
nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any, Protocol

from lading.errors import InvalidSetting, RemoteError, ServerUnavailable, missing_extra

MANAGER = "lading"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
TIMEOUT_S = 30

PATHS = {
    "Namespace": "/api/v1/namespaces/{name}",
    "Service": "/api/v1/namespaces/{namespace}/services/{name}",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name}",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{name}",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs/{name}",
    "CronJob": "/apis/batch/v1/namespaces/{namespace}/cronjobs/{name}",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{namespace}/servicemonitors/{name}",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects/{name}",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/{name}",
    "ServingRuntime": "/apis/serving.kserve.io/v1alpha1/namespaces/{namespace}/servingruntimes/{name}",
    "InferenceService": "/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/{name}",
}
"""The API path of each kind that lading writes, so that no discovery is needed."""

FORCED = ("HTTPRoute",)
"""Kinds whose fields are taken over from other managers. For Kubernetes, a manager is a name and an operation
(kubernetes/kubernetes#107417): without this, it would refuse to apply what lading itself has patched."""


class Cluster(Protocol):
    """A cluster. Raises `RemoteError` if it refuses and `ServerUnavailable` if it is unreachable."""

    @property
    def where(self) -> str:
        """Its address, for messages."""

    def apply(self, manifest: dict[str, Any]) -> None:
        """Create the object, or change it to match the manifest. Idempotent."""

    def patch(self, manifest: dict[str, Any], patch: dict[str, Any]) -> None:
        """Change an existing object by a JSON merge patch; `manifest` only has to name it."""


class KubernetesCluster:
    """The cluster of a kubeconfig context, or the one that this pod runs in."""

    def __init__(self, context: str | None = None) -> None:
        client, config = _import_client()
        configuration = client.Configuration()
        try:
            # In a pod, its service account, unless a kubeconfig is named.
            if context is None and "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(context=context, client_configuration=configuration)
        except config.ConfigException as error:
            raise InvalidSetting(
                "kubeconfig",
                expected=f"the context `{context}`" if context else "one with a current context",
                found=str(error),
                hint="`kubectl config get-contexts` lists them",
            ) from None
        # An unreachable cluster is reported now, not after urllib3's retries.
        configuration.retries = False
        self._api = client.ApiClient(configuration)
        self._api_error = client.ApiException
        self._where = str(configuration.host)

    @property
    def where(self) -> str:
        """The URL of its API server."""
        return self._where

    def apply(self, manifest: dict[str, Any]) -> None:
        """Apply on the server side; fields of another manager are refused, except for `FORCED`."""
        self._send(manifest, manifest, APPLY, is_forced=manifest["kind"] in FORCED)

    def patch(self, manifest: dict[str, Any], patch: dict[str, Any]) -> None:
        """Patch an existing object."""
        self._send(manifest, patch, MERGE)

    def _send(
        self, manifest: dict[str, Any], body: dict[str, Any], media: str, *, is_forced: bool = False
    ) -> None:
        from urllib3.exceptions import HTTPError

        metadata = manifest["metadata"]
        place = {"name": metadata["name"], "namespace": metadata.get("namespace", "")}
        where = f"{manifest['kind']} `{metadata['name']}` in cluster `{self._where}`"
        # The client has a method for each kind; below them, one call sends a manifest of any kind.
        request = self._api.param_serialize(
            method="PATCH",
            resource_path=PATHS[manifest["kind"]].format(**place),
            query_params=[("fieldManager", MANAGER), *([("force", "true")] if is_forced else [])],
            header_params={"Content-Type": media, "Accept": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(*request, _request_timeout=TIMEOUT_S)
            answer.read()
            self._api.response_deserialize(answer, {})  # Raises for an error status.
        except self._api_error as error:
            raise _refused(where, error) from None
        except HTTPError as error:
            raise ServerUnavailable(where, expected="an answer", found=str(error)) from None


def apply_all(cluster: Cluster, manifests: Iterable[dict[str, Any]]) -> list[str]:
    """Apply manifests in order and return their names; stops at the first one that is refused."""
    applied = []
    for manifest in manifests:
        cluster.apply(manifest)
        applied.append(f"{manifest['kind'].lower()}/{manifest['metadata']['name']}")
    return applied


def _import_client() -> tuple[Any, Any]:
    try:
        from kubernetes import client, config
    except ModuleNotFoundError as error:
        instead = "pipe into `kubectl apply --server-side -f -`"
        raise missing_extra("`--apply`", "kubernetes", error, instead=instead) from None
    return client, config


def _refused(where: str, error: Any) -> RemoteError:
    """Return the error of a refusal, with the message of the Status object that Kubernetes answers with."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    actual = f"{error.status} ({message})"
    return RemoteError(where, expected="to be applied", found=actual, status=int(error.status or 0))
