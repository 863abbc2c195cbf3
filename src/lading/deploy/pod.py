"""The pod of a model: its containers, what probes them, what they may do, and what they need.

The same for a Deployment and for KServe. Decides no number of pods and no traffic.
"""

from __future__ import annotations

import math
from typing import Any

from lading.deploy import Workload
from lading.deploy.yamltext import Noted

HTTP_PORT, GRPC_PORT = 8000, 8001
BUNDLES, CACHE = "/lading/bundles", "/lading/cache"
DOCKER_CONFIG = "/lading/registry-login"
USER = 65532
SERVER_MB = 256
"""A server without its model takes about 100 MB; the rest is for requests in hand."""

PRE_STOP_S, DRAIN_DELAY_S, DRAIN_TIMEOUT_S, MARGIN_S = 5, 5, 30, 5
GRACE_S = PRE_STOP_S + DRAIN_DELAY_S + 2 * DRAIN_TIMEOUT_S + MARGIN_S
"""REST is drained first and gRPC then, each within the timeout (`lading.server.process.http_server`)."""
START_S = 300


def pod_spec(work: Workload) -> dict[str, Any]:
    """Return the pod's specification."""
    options = work.options
    spec: dict[str, Any] = {
        "automountServiceAccountToken": Noted(False, "A model asks the cluster for nothing."),
        "enableServiceLinks": Noted(
            False,
            "Kubernetes would set LADING_PORT=tcp://… in every pod beside a Service called `lading`, "
            "and the server would take that for its setting.",
        ),
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": Noted(
            GRACE_S,
            f"preStop {PRE_STOP_S} s + drain delay {DRAIN_DELAY_S} s + REST and then gRPC "
            f"up to {DRAIN_TIMEOUT_S} s each + {MARGIN_S} s: whoever shortens one of them may shorten this.",
        ),
        "topologySpreadConstraints": Noted(
            [_spread(work, "topology.kubernetes.io/zone"), _spread(work, "kubernetes.io/hostname")],
            "Over zones and nodes where there are several; "
            "ScheduleAnyway, so that a small cluster still surges.",
        ),
    }
    if options.pull_secret:
        spec["imagePullSecrets"] = [{"name": options.pull_secret}]
    if options.pattern == "load":
        spec["initContainers"] = [fetcher(work)]
    spec["containers"] = [server(work)]
    spec["volumes"] = volumes(work)
    return spec


def server(work: Workload, name: str = "server") -> dict[str, Any]:
    """Return the container that serves."""
    options = work.options
    container: dict[str, Any] = {
        "name": name,
        "image": _image(work),
        "args": Noted(
            ["serve"], f"The entry point of the image is `lading`; it serves what is in {BUNDLES}."
        ),
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
        ],
        "env": environment(work),
    }
    if options.secret:
        container["envFrom"] = Noted(
            [{"secretRef": {"name": options.secret, "optional": True}}],
            "For the inventory only: the bundle is here already, "
            "and without the Secret the server serves too.",
        )
    return {
        **container,
        **probes(work.model),
        "lifecycle": {
            "preStop": Noted(
                {"sleep": {"seconds": PRE_STOP_S}},
                "Still ready meanwhile: the pod leaves the endpoints now, "
                "and every node needs a moment to know it. "
                "Needs no shell in the image (Kubernetes 1.30 or newer).",
            )
        },
        "resources": resources(work),
        "securityContext": container_security(),
        "volumeMounts": mounts(work, writes=False),
    }


def fetcher(work: Workload) -> Any:
    """Return the init container of pattern `load`."""
    container: dict[str, Any] = {
        "name": "fetch",
        "image": work.options.image,
        "args": Noted(
            ["pull", work.pinned, "--to", f"{BUNDLES}/{work.model}"],
            "By digest, so that a moved tag never changes a running Deployment. "
            "Done again, as when a node comes back, it finds the bundle and ends.",
        ),
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "LADING_CACHE", "value": CACHE}],  # noqa: S108
        "envFrom": Noted(
            [{"secretRef": {"name": work.options.secret}}],
            "LADING_REGISTRY, LADING_STORE and their credentials: never in this file.",
        ),
        "resources": resources(work),
        "securityContext": container_security(),
        "volumeMounts": mounts(work, writes=True),
    }
    if work.options.pull_secret:
        container["env"].append({"name": "DOCKER_CONFIG", "value": DOCKER_CONFIG})
    return Noted(
        container, "The bundle comes from the store; its digest is checked before the server begins."
    )


def environment(work: Workload) -> list[Any]:
    """Return the settings of the server."""
    return [
        {
            "name": "LADING_HOST",
            "value": Noted("0.0.0.0", "The default is 127.0.0.1, which no probe reaches."),  # noqa: S104
        },
        {"name": "LADING_PORT", "value": str(HTTP_PORT)},
        {"name": "LADING_GRPC_PORT", "value": str(GRPC_PORT)},
        {
            "name": "LADING_THREADS",
            "value": Noted(
                str(work.options.cpus),
                "There is no CPU limit: without this, "
                "ONNX Runtime would take a thread for each core of the node.",
            ),
        },
        {
            "name": "LADING_DRAIN_DELAY_S",
            "value": Noted(
                str(DRAIN_DELAY_S),
                "After SIGTERM: not ready, but serving, for load balancers that ask /health themselves.",
            ),
        },
        {"name": "LADING_DRAIN_TIMEOUT_S", "value": str(DRAIN_TIMEOUT_S)},
        {"name": "LADING_CACHE", "value": CACHE},
        {"name": "HOME", "value": Noted("/tmp", "Nothing else is writable but the cache.")},  # noqa: S108
    ]


def probes(model: str) -> dict[str, Any]:
    """Return the three probes."""
    health = {"httpGet": {"path": f"/models/{model}/health", "port": "http"}}
    return {
        "startupProbe": Noted(
            {**health, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": START_S},
            "200 only once the golden samples gave the very answers of training, here. "
            "Asked every second, for a small model is ready within one; "
            f"given up after {START_S} s, so that a rollout does not hang.",
        ),
        "readinessProbe": Noted(
            {**health, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2},
            "The same: not ready means no traffic, never a restart.",
        ),
        "livenessProbe": Noted(
            {
                "httpGet": {"path": "/v2/health/live", "port": "http"},
                "periodSeconds": 10,
                "timeoutSeconds": 5,
                "failureThreshold": 6,
            },
            "Whether the process answers at all, and nothing about the model: "
            "a model that fails, and a registry that is away, get no better by a restart. "
            "A minute of patience, for a busy pod is not a dead one.",
        ),
    }


def resources(work: Workload) -> dict[str, Any]:
    """Return what the pod needs; memory is what the model was measured to take and what the server takes."""
    memory = f"{memory_mib(work.memory_mb)}Mi"
    how = "measured" if work.is_measured else "estimated from its size: run `lading verify`"
    return {
        "requests": {
            "cpu": str(work.options.cpus),
            "memory": Noted(
                memory,
                f"{SERVER_MB} MB for the server + 1.25 × {work.memory_mb:.0f} MB for the model ({how}).",
            ),
        },
        "limits": Noted(
            {"memory": memory},
            "As the request: memory cannot be taken back. No CPU limit, for throttling is latency.",
        ),
    }


def memory_mib(model_mb: float) -> int:
    """Return the pod's memory in MiB, in steps of 32."""
    return 32 * math.ceil((SERVER_MB + 1.25 * model_mb) * 1e6 / 2**20 / 32)


def pod_security() -> dict[str, Any]:
    """Return what the pod may not do: all that the `restricted` standard forbids."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": Noted(USER, "The volumes below are writable for this group."),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """Return what a container may not do."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def volumes(work: Workload) -> list[Any]:
    """Return what is mounted: all of it goes with the pod."""
    mib = work.version.size_bytes / 2**20
    size = f"{64 + math.ceil(2.2 * mib)}Mi"
    shared = "For LADING_WORKERS above 1: the copy of the model by which they share its weights."
    found: list[Any] = [
        # A float16 model grows to four times its size where the CPU has no kernels for it.
        {"name": "tmp", "emptyDir": {"sizeLimit": Noted(f"{256 + math.ceil(4.2 * mib)}Mi", shared)}},
        {"name": "cache", "emptyDir": {"sizeLimit": size}},
    ]
    if work.options.pattern != "load":
        return found
    why = "Twice the bundle: room to spare while it comes."
    found.append({"name": "bundles", "emptyDir": {"sizeLimit": Noted(size, why)}})
    if work.options.pull_secret:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        found.append(
            {"name": "registry-login", "secret": {"secretName": work.options.pull_secret, "items": items}}
        )
    return found


def mounts(work: Workload, *, writes: bool) -> list[Any]:
    """Return the places of the volumes; the bundles are read-only but for who fetches them."""
    found: list[Any] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        {"name": "cache", "mountPath": CACHE},
    ]
    if work.options.pattern != "load":
        return found
    found.append({"name": "bundles", "mountPath": BUNDLES, "readOnly": not writes})
    if writes and work.options.pull_secret:
        found.append({"name": "registry-login", "mountPath": DOCKER_CONFIG, "readOnly": True})
    return found


def selector(work: Workload) -> dict[str, str]:
    """Return the labels by which one side's pods are found. They cannot change later, so there are few."""
    return {"app.kubernetes.io/name": work.model, "app.kubernetes.io/instance": work.name}


def _image(work: Workload) -> Any:
    if work.options.pattern == "in-image":
        return Noted(work.options.image, f"By digest; the bundle {work.version.ref} is its last layer.")
    if "@sha256:" in work.options.image:
        return work.options.image
    return Noted(work.options.image, "A tag may move: better a digest, image@sha256:…")


def _spread(work: Workload, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(work)},
        "matchLabelKeys": ["pod-template-hash"],
    }
