"""Applies manifests to a cluster: a contract of two calls, and its one implementation by the official client.

By server-side apply: the cluster merges, and knows which fields are lading's. Watches nothing and deletes
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
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/{name}",
    "ServingRuntime": "/apis/serving.kserve.io/v1alpha1/namespaces/{namespace}/servingruntimes/{name}",
    "InferenceService": "/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/{name}",
}
"""Where each kind that lading writes lives; so no discovery is needed."""

FORCED = ("HTTPRoute",)
"""Kinds whose fields are taken from whoever holds them. For Kubernetes a manager is a name and an operation
(kubernetes/kubernetes#107417): without this it would refuse to apply what lading itself patched."""


class Cluster(Protocol):
    """A cluster. Raises `RemoteError` when it refuses and `ServerUnavailable` when it is away."""

    @property
    def where(self) -> str:
        """Its address, as people know it."""

    def apply(self, manifest: dict[str, Any]) -> None:
        """Make the object, or make it as the manifest says; the same again changes nothing."""

    def patch(self, manifest: dict[str, Any], patch: dict[str, Any]) -> None:
        """Change an object that is there by a JSON merge patch; `manifest` need only name it."""


class KubernetesCluster:
    """The cluster of a context of the kubeconfig, or the one that this pod runs in."""

    def __init__(self, context: str | None = None) -> None:
        client, config = _import_client()
        configuration = client.Configuration()
        try:
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
        configuration.retries = False
        self._api = client.ApiClient(configuration)
        self._refusal = client.ApiException
        self._where = str(configuration.host)

    @property
    def where(self) -> str:
        """The URL of its API server."""
        return self._where

    def apply(self, manifest: dict[str, Any]) -> None:
        """Apply by the server's means; fields that another manager holds are refused, but for `FORCED`."""
        self._send(manifest, manifest, APPLY, is_forced=manifest["kind"] in FORCED)

    def patch(self, manifest: dict[str, Any], patch: dict[str, Any]) -> None:
        """Patch an object that is there."""
        self._send(manifest, patch, MERGE)

    def _send(
        self, manifest: dict[str, Any], body: dict[str, Any], media: str, *, is_forced: bool = False
    ) -> None:
        from urllib3.exceptions import HTTPError

        metadata = manifest["metadata"]
        place = {"name": metadata["name"], "namespace": metadata.get("namespace", "")}
        where = f"{manifest['kind']} `{metadata['name']}` in cluster `{self._where}`"
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
            self._api.response_deserialize(answer, {})
        except self._refusal as error:
            raise _refused(where, error) from None
        except HTTPError as error:
            raise ServerUnavailable(where, expected="an answer", found=str(error)) from None


def apply_all(cluster: Cluster, manifests: Iterable[dict[str, Any]]) -> list[str]:
    """Apply manifests in their order and name each; stops at the first that is refused."""
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
    """Make an error of the cluster's answer, which is a Status object where it comes from Kubernetes."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    found = f"{error.status} ({message})"
    return RemoteError(where, expected="to be applied", found=found, status=int(error.status or 0))
