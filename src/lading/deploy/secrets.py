"""Access control and TLS of a pod: Secrets that are mounted as files, and who scrapes with a key.

Files and not variables: the server follows them, so that a Secret that changes needs no new pod.
"""

from __future__ import annotations

from typing import Any

from lading.deploy import Workload
from lading.deploy.yamltext import Noted

ACCESS, TLS = "/lading/access", "/lading/tls"
ACCESS_FILE = "access.toml"


def secret_variables(work: Workload) -> list[Any]:
    """Return the variables that name the mounted files."""
    options = work.options
    named: dict[str, Any] = {}
    if options.access_secret:
        why = f"Who may call this server: the key `{ACCESS_FILE}` of the Secret."
        named["LADING_ACCESS"] = Noted(f"{ACCESS}/{ACCESS_FILE}", why)
    if options.tls_secret:
        named["LADING_TLS_CERT"], named["LADING_TLS_KEY"] = f"{TLS}/tls.crt", f"{TLS}/tls.key"
    return [{"name": name, "value": value} for name, value in named.items()]


def secret_volumes(work: Workload) -> list[Any]:
    """Return the volumes of these Secrets; a pod without them does not start."""
    options = work.options
    declared = [("access", options.access_secret), ("tls", options.tls_secret)]
    return [{"name": name, "secret": {"secretName": secret}} for name, secret in declared if secret]


def secret_mounts(work: Workload) -> list[Any]:
    """Return where the server finds them; as folders, because a mount of one file would never change."""
    places = {"access": ACCESS, "tls": TLS}
    return [
        {"name": volume["name"], "mountPath": places[volume["name"]], "readOnly": True}
        for volume in secret_volumes(work)
    ]


def scheme(work: Workload) -> dict[str, str]:
    """Return what probes add to speak TLS; the kubelet checks no certificate."""
    return {"scheme": "HTTPS"} if work.options.tls_secret else {}


def service_monitor(work: Workload) -> Any:
    """Return who scrapes the metrics with the key `token` of a Secret (Prometheus Operator)."""
    options = work.options
    endpoint: dict[str, Any] = {
        "port": "http",
        "path": "/metrics",
        "authorization": Noted(
            {"type": "Bearer", "credentials": {"name": options.metrics_secret, "key": "token"}},
            "A key with the role `read`: `lading access key new --name prometheus --role read`.",
        ),
    }
    if options.tls_secret:
        server_name = f"{work.name}.{options.namespace}.svc"
        ca = {"secret": {"name": options.tls_secret, "key": "ca.crt"}}
        endpoint |= {"scheme": "https", "tlsConfig": {"ca": ca, "serverName": server_name}}
    labels = {"app.kubernetes.io/name": work.model}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {
            "name": work.name,
            "namespace": options.namespace,
            "labels": {**labels, "app.kubernetes.io/managed-by": "lading"},
        },
        "spec": {
            "selector": {"matchLabels": {**labels, "app.kubernetes.io/instance": work.name}},
            "endpoints": [endpoint],
        },
    }
