"""Access control and TLS of a pod: Secrets as files, probes over TLS, a scrape with a key."""

from __future__ import annotations

import pytest

from lading.deploy import Options
from lading.deploy.kubernetes import manifests
from lading.errors import InvalidSetting
from lading.settings import serve_settings
from support.workloads import IMAGE, by_kind, pod_spec_of, server_of, work

SECRETS = {"access_secret": "model-access", "tls_secret": "model-tls", "metrics_secret": "scrape"}


@pytest.mark.parametrize("pattern", ["in-image", "load"])
def test_secrets_are_files_that_the_server_follows(pattern):
    made = manifests(work(pattern, **SECRETS))
    server, spec = server_of(made), pod_spec_of(made)
    settings = serve_settings({}, {entry["name"]: entry["value"] for entry in server["env"]})
    assert settings.access == "/lading/access/access.toml"
    assert (settings.tls_cert, settings.tls_key) == ("/lading/tls/tls.crt", "/lading/tls/tls.key")
    mounted = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
    for place in ("/lading/access", "/lading/tls"):
        assert mounted[place]["readOnly"] is True
        assert "subPath" not in mounted[place]  # Such a mount would never change.
    assert {"name": "access", "secret": {"secretName": "model-access"}} in spec["volumes"]
    assert {"name": "tls", "secret": {"secretName": "model-tls"}} in spec["volumes"]
    # The container that pulls the bundle has nothing to do with them.
    for container in spec.get("initContainers", ()):
        assert not {"access", "tls"} & {mount["name"] for mount in container["volumeMounts"]}


def test_no_secret_is_a_variable():
    secret = set(SECRETS.values())
    assert not any(entry["value"] in secret for entry in server_of(manifests(work(**SECRETS)))["env"])


def test_probes_speak_tls_and_the_service_says_so():
    made = manifests(work(**SECRETS))
    server = server_of(made)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"]["scheme"] == "HTTPS"
    assert by_kind(made)["Service"]["spec"]["ports"][0]["appProtocol"] == "https"


def test_prometheus_scrapes_with_a_key_of_a_secret():
    made = by_kind(manifests(work(**SECRETS)))
    monitor, service = made["ServiceMonitor"], made["Service"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["authorization"] == {"type": "Bearer", "credentials": {"name": "scrape", "key": "token"}}
    assert endpoint["tlsConfig"]["serverName"] == "iris.models.svc"
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= service["metadata"]["labels"].items()


def test_without_them_nothing_of_it_is_in_the_manifests():
    made = manifests(work())
    assert "ServiceMonitor" not in by_kind(made)
    assert "scheme" not in server_of(made)["readinessProbe"]["httpGet"]


def test_the_name_of_a_secret_is_checked():
    with pytest.raises(InvalidSetting, match="name of a Secret"):
        Options(pattern="load", image=IMAGE, tls_secret="Model TLS")
