"""The pod of a model: its containers with their probes, rights and resources, and its volumes.

The same for a Deployment and for KServe. Decides neither the number of pods nor the traffic.
"""

from __future__ import annotations

import math
from typing import Any

from lading.deploy import Workload
from lading.deploy.yamltext import Noted

HTTP_PORT, GRPC_PORT = 8000, 8001
BUNDLES, CACHE = "/lading/bundles", "/lading/cache"
DOCKER_CONFIG = "/lading/registry-login"
USER = 65532  # As in the image (`lading.image.build.USER`).
SERVER_MB = 448
"""A server without a model takes about 100 MB, the process that reads large bodies 60 MB; of the rest,
`request_memory_mb` is for requests in flight, and for what reading them takes."""
MAX_BODY_MIB = 4
"""`SERVER_MB` holds ten bodies of this size that wait, and one that is read: 17 times it as lists of rows."""

PRE_STOP_S, DRAIN_DELAY_S, DRAIN_TIMEOUT_S, MARGIN_S = 5, 5, 30, 5
GRACE_S = PRE_STOP_S + DRAIN_DELAY_S + 2 * DRAIN_TIMEOUT_S + MARGIN_S
"""REST is drained first and gRPC then, each within the timeout (`lading.server.process.http_server`)."""
START_TIMEOUT_S = 300


def pod_spec(work: Workload) -> dict[str, Any]:
    """Return the pod's specification."""
    options = work.options
    spec: dict[str, Any] = {
        "automountServiceAccountToken": Noted(False, "A model has no business with the cluster's API."),
        "enableServiceLinks": Noted(
            False,
            "With a Service called `lading` in the namespace, Kubernetes would set LADING_PORT=tcp://… "
            "in every pod, and the server would read that as its setting.",
        ),
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": Noted(
            GRACE_S,
            f"preStop {PRE_STOP_S} s + drain delay {DRAIN_DELAY_S} s + draining REST and then gRPC, "
            f"up to {DRAIN_TIMEOUT_S} s each, + {MARGIN_S} s: shorten this only together with one of them.",
        ),
        "topologySpreadConstraints": Noted(
            [_spread(work, "topology.kubernetes.io/zone"), _spread(work, "kubernetes.io/hostname")],
            "Across zones and nodes if there are several; "
            "ScheduleAnyway, so that a small cluster can still start one more pod during a rollout.",
        ),
    }
    if options.pull_secret:
        spec["imagePullSecrets"] = [{"name": options.pull_secret}]
    if options.pattern == "load":
        spec["initContainers"] = [fetch_container(work)]
    spec["containers"] = [server_container(work)]
    spec["volumes"] = volumes(work)
    return spec


def server_container(work: Workload, name: str = "server") -> dict[str, Any]:
    """Return the container that serves."""
    options = work.options
    container: dict[str, Any] = {
        "name": name,
        "image": _image(work),
        "args": Noted(
            ["serve"], f"The entry point of the image is `lading`; it serves the bundles in {BUNDLES}."
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
            "For the inventory only: the bundle is in the pod already, "
            "and the server runs without the Secret too.",
        )
    return {
        **container,
        **probes(work.model),
        "lifecycle": {
            "preStop": Noted(
                {"sleep": {"seconds": PRE_STOP_S}},
                "The server stays ready meanwhile: the pod is being removed from the endpoints, "
                "which takes a moment to reach every node. "
                "Needs no shell in the image (Kubernetes 1.30 or newer).",
            )
        },
        "resources": resources(work),
        "securityContext": container_security(),
        "volumeMounts": mounts(work, writable_bundles=False),
    }


def fetch_container(work: Workload) -> Any:
    """Return the init container of the pattern `load`."""
    container: dict[str, Any] = {
        "name": "fetch",
        "image": work.options.image,
        "args": Noted(
            ["pull", work.pinned, "--to", f"{BUNDLES}/{work.model}"],
            "By digest, so that a moved tag never changes a running Deployment. "
            "If it runs again, as after a reboot of the node, it finds the bundle and exits.",
        ),
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "LADING_CACHE", "value": CACHE}],  # noqa: S108
        "envFrom": Noted(
            [{"secretRef": {"name": work.options.secret}}],
            "LADING_REGISTRY, LADING_STORE and their credentials: never in this file.",
        ),
        "resources": resources(work),
        "securityContext": container_security(),
        "volumeMounts": mounts(work, writable_bundles=True),
    }
    if work.options.pull_secret:
        container["env"].append({"name": "DOCKER_CONFIG", "value": DOCKER_CONFIG})
    return Noted(
        container, "Fetches the bundle from the store; its digest is checked before the server starts."
    )


def environment(work: Workload) -> list[Any]:
    """Return the environment variables of the server."""
    return [
        {
            "name": "LADING_HOST",
            "value": Noted("0.0.0.0", "The default is 127.0.0.1, which probes cannot reach."),  # noqa: S104
        },
        {"name": "LADING_PORT", "value": str(HTTP_PORT)},
        {"name": "LADING_GRPC_PORT", "value": str(GRPC_PORT)},
        {
            "name": "LADING_THREADS",
            "value": Noted(
                str(work.options.cpus),
                "There is no CPU limit: without this, "
                "ONNX Runtime would start a thread for each core of the node.",
            ),
        },
        {
            "name": "LADING_DRAIN_DELAY_S",
            "value": Noted(
                str(DRAIN_DELAY_S),
                "After SIGTERM: not ready but serving, for load balancers that poll /health themselves.",
            ),
        },
        {"name": "LADING_DRAIN_TIMEOUT_S", "value": str(DRAIN_TIMEOUT_S)},
        {
            "name": "LADING_MAX_BODY_BYTES",
            "value": Noted(
                str(MAX_BODY_MIB * 2**20),
                "Reading a request takes 10 to 20 times its body: for larger ones, raise the memory as well.",
            ),
        },
        {"name": "LADING_CACHE", "value": CACHE},
        {"name": "HOME", "value": Noted("/tmp", "Only this and the cache are writable.")},  # noqa: S108
    ]


def probes(model: str) -> dict[str, Any]:
    """Return the three probes."""
    # The route of the model: 200 only if this very model is ready.
    health = {"httpGet": {"path": f"/models/{model}/health", "port": "http"}}
    return {
        "startupProbe": Noted(
            {**health, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": START_TIMEOUT_S},
            "Succeeds once the golden samples have given the answers of training, in this pod. "
            "Every second, because a small model is ready within one; "
            f"fails after {START_TIMEOUT_S} s, so that a rollout does not hang.",
        ),
        "readinessProbe": Noted(
            {**health, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2},
            "The same endpoint: not ready means no traffic, never a restart.",
        ),
        "livenessProbe": Noted(
            {
                "httpGet": {"path": "/v2/health/live", "port": "http"},
                "periodSeconds": 10,
                "timeoutSeconds": 5,
                "failureThreshold": 6,
            },
            "Whether the process responds at all, regardless of the model: "
            "a restart fixes neither a failing model nor an unreachable registry. "
            "A minute of patience, because a busy pod is not a dead one.",
        ),
    }


def resources(work: Workload) -> dict[str, Any]:
    """Return what a container requests; its memory is that of the server and that of the model."""
    # The init container has the same: a pod gets the larger of the two, so that costs nothing.
    memory = f"{memory_mib(work.memory_mb)}Mi"
    basis = "measured" if work.is_measured else "estimated from its size: run `lading verify`"
    return {
        "requests": {
            "cpu": str(work.options.cpus),
            "memory": Noted(
                memory,
                f"{SERVER_MB} MB for the server + 1.25 × {work.memory_mb:.0f} MB for the model ({basis}).",
            ),
        },
        "limits": Noted(
            {"memory": memory},
            "As requested: memory cannot be reclaimed. No CPU limit, because throttling adds latency.",
        ),
    }


def memory_mib(model_mb: float) -> int:
    """Return the memory of a container in MiB, rounded up to a multiple of 32."""
    return 32 * math.ceil((SERVER_MB + 1.25 * model_mb) * 1e6 / 2**20 / 32)


def pod_security() -> dict[str, Any]:
    """Return the security context of the pod, as the `restricted` standard demands."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": Noted(USER, "The volumes below are writable by this group."),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """Return the security context of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def volumes(work: Workload) -> list[Any]:
    """Return the volumes; all of them are deleted with the pod."""
    # A limit that is exceeded evicts the pod, so each leaves some room.
    mib = work.version.size_bytes / 2**20
    size = f"{64 + math.ceil(2.2 * mib)}Mi"
    shared = "For LADING_WORKERS above 1: the copy of the model through which they share its weights."
    declared: list[Any] = [
        # A float16 model grows to four times its size if the CPU has no kernels for it.
        {"name": "tmp", "emptyDir": {"sizeLimit": Noted(f"{256 + math.ceil(4.2 * mib)}Mi", shared)}},
        {"name": "cache", "emptyDir": {"sizeLimit": size}},
    ]
    if work.options.pattern != "load":
        return declared
    why = "Twice the bundle: while it is pulled, there are two copies."
    declared.append({"name": "bundles", "emptyDir": {"sizeLimit": Noted(size, why)}})
    # The same login that pulls images also pulls bundles from a store in that registry.
    if work.options.pull_secret:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        declared.append(
            {"name": "registry-login", "secret": {"secretName": work.options.pull_secret, "items": items}}
        )
    return declared


def mounts(work: Workload, *, writable_bundles: bool) -> list[Any]:
    """Return the mounts of a container; only the one that fetches bundles may write them."""
    mounted: list[Any] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        {"name": "cache", "mountPath": CACHE},
    ]
    if work.options.pattern != "load":
        return mounted
    mounted.append({"name": "bundles", "mountPath": BUNDLES, "readOnly": not writable_bundles})
    # Only the container that pulls needs the login.
    if writable_bundles and work.options.pull_secret:
        mounted.append({"name": "registry-login", "mountPath": DOCKER_CONFIG, "readOnly": True})
    return mounted


def selector(work: Workload) -> dict[str, str]:
    """Return the labels that select the pods of one side. They can never change, so there are few."""
    return {"app.kubernetes.io/name": work.model, "app.kubernetes.io/instance": work.name}


def _image(work: Workload) -> Any:
    if work.options.pattern == "in-image":
        return Noted(work.options.image, f"By digest; its last layer is the bundle {work.version.ref}.")
    if "@sha256:" in work.options.image:
        return work.options.image
    return Noted(work.options.image, "A tag may move: prefer a digest, image@sha256:…")


def _spread(work: Workload, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(work)},
        "matchLabelKeys": ["pod-template-hash"],
    }
