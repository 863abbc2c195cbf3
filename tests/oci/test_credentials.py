"""Who may push: credentials where docker, podman, skopeo and ORAS leave them, before real registries."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lading.blobs.retry import Retry
from lading.errors import InvalidSetting, RegistryUnavailable
from lading.oci import Repository
from lading.oci import transport as transports
from lading.oci.transport import Transport
from support.oci_proxy import Answer, certificate_for_this_machine, registry_proxy
from support.oci_stores import put, read, registry_of_its_own, repository_at, store_at
from support.token_server import TokenServer

pytestmark = pytest.mark.slow
# bcrypt of `right`, the only form that docker-registry reads.
HTPASSWD = "anna:$2a$05$IaqyyVtbX7PCaJIdi1HqNOP8/7JX/jY/z3W9I0e6MowoaSZXXsd.C\n"


@pytest.fixture
def locked(tmp_path):
    (tmp_path / "server").mkdir()
    htpasswd = tmp_path / "server" / "htpasswd"
    htpasswd.write_text(HTPASSWD)
    more = f"auth:\n  htpasswd:\n    realm: tests\n    path: {htpasswd}\n"
    with registry_of_its_own(tmp_path / "server", more=more) as server:
        yield server


def logged_in(folder: Path, key: str, **entry: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {key: entry}}))
    return {"DOCKER_CONFIG": str(folder)}


def basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("entry", [{"auth": basic("anna:right")}, {"username": "anna", "password": "right"}])
def test_a_user_who_is_logged_in_can_push_and_pull(locked, tmp_path, entry):
    environ = logged_in(tmp_path / "docker", locked.address, **entry)
    store = store_at(locked.address, environ=environ)
    assert read(store, put(store, b"mine")) == b"mine"


def test_credentials_may_be_stored_for_a_part_of_a_registry(locked, tmp_path):
    environ = logged_in(tmp_path / "docker", f"{locked.address}/team", auth=basic("anna:right"))
    put(store_at(locked.address, "team/models", environ=environ), b"ours")
    with pytest.raises(RegistryUnavailable, match="401"):
        put(store_at(locked.address, "models", environ=environ), b"theirs")


@pytest.mark.parametrize("kept", [{}, {"auth": basic("anna:wrong")}, {"auth": basic("otto:right")}])
def test_wrong_or_missing_credentials_are_reported_with_a_hint(locked, tmp_path, kept):
    environ = logged_in(tmp_path / "docker", locked.address, **kept)
    store = store_at(locked.address, environ=environ)
    with pytest.raises(RegistryUnavailable, match="401 Unauthorized") as caught:
        put(store, b"theirs")
    assert f"docker login {locked.address}" in caught.value.hint
    assert "wrong" not in str(caught.value)
    assert basic("anna:wrong") not in str(caught.value)


@pytest.mark.parametrize("table", ["credsStore", "credHelpers"])
def test_a_credential_helper_is_run(locked, tmp_path, monkeypatch, table):
    helper = tmp_path / "docker-credential-tests"
    helper.write_text(
        '#!/bin/sh\nread host\necho "{\\"Username\\": \\"anna\\", \\"Secret\\": \\"right\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    host = locked.address
    config = {"credsStore": "tests", "auths": {host: {}}}
    if table == "credHelpers":
        config = {"credHelpers": {host: "tests"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    put(store_at(host, environ={"DOCKER_CONFIG": str(tmp_path)}), b"mine")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "a readable JSON file"),
        ('{"credHelpers": {"HOST": "nowhere-to-be-found"}}', "docker-credential-nowhere-to-be-found"),
        ('{"credHelpers": {"HOST": "../evil"}}', "the end of a program's name"),
        ('{"auths": {"HOST": {"auth": "?"}}}', "user:password in base64"),
    ],
)
def test_unreadable_credentials_are_refused_naming_the_file(locked, tmp_path, config, words):
    (tmp_path / "config.json").write_text(config.replace("HOST", locked.address))
    with pytest.raises(InvalidSetting, match=r"config\.json") as caught:
        put(store_at(locked.address, environ={"DOCKER_CONFIG": str(tmp_path)}), b"mine")
    assert words in str(caught.value)


@pytest.fixture
def guarded(tmp_path):
    (tmp_path / "server").mkdir()
    tokens = TokenServer(tmp_path / "server", "anna", "right")
    with registry_of_its_own(tmp_path / "server", more=tokens.config) as server:
        server.tokens = tokens
        yield server
    tokens.shutdown()
    tokens.server_close()


@pytest.mark.parametrize("kept", [{"auth": basic("anna:right")}, {"identitytoken": "right"}])
def test_credentials_are_exchanged_for_a_token(guarded, tmp_path, kept):
    environ = logged_in(tmp_path / "docker", guarded.address, **kept)
    store = store_at(guarded.address, environ=environ)
    digest = put(store, b"mine")
    assert read(store, digest) == b"mine"
    assert store.delete(digest)
    method = "POST" if "identitytoken" in kept else "GET"
    assert {asked[0] for asked in guarded.tokens.asked} == {method}
    assert len(guarded.tokens.asked) < 12


def test_an_anonymous_user_can_pull_and_cannot_push(guarded, tmp_path):
    environ = logged_in(tmp_path / "docker", guarded.address, auth=basic("anna:right"))
    digest = put(store_at(guarded.address, environ=environ), b"mine")
    stranger = store_at(guarded.address)
    assert read(stranger, digest) == b"mine"
    with pytest.raises(RegistryUnavailable, match="401") as caught:
        put(stranger, b"theirs")
    assert "docker login" in caught.value.hint


def test_a_wrong_password_gets_no_token(guarded, tmp_path):
    environ = logged_in(tmp_path / "docker", guarded.address, auth=basic("anna:wrong"))
    with pytest.raises(RegistryUnavailable, match="401 UNAUTHORIZED: wrong password"):
        put(store_at(guarded.address, environ=environ), b"mine")


ORAS = """
import sys, oras.client
client = oras.client.OrasClient(hostname=sys.argv[1], insecure=True)
client.login("anna", "right", hostname=f"http://{sys.argv[1]}", config_path=sys.argv[2])
"""
LOGIN = ("login", "--tls-verify=false", "--username=anna", "--password=right", "--authfile", "FILE", "HOST")
LOGINS = {
    "skopeo": ("skopeo", *LOGIN),
    "podman": ("podman", *LOGIN),
    "oras": (sys.executable, "-c", ORAS, "HOST", "FILE"),
}


@pytest.mark.parametrize("tool", LOGINS)
def test_the_login_of_another_tool_is_used(locked, tmp_path, tool):
    kept = tmp_path / "docker" / "config.json"
    kept.parent.mkdir()
    command = [word.replace("HOST", locked.address).replace("FILE", str(kept)) for word in LOGINS[tool]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for environ in ({"DOCKER_CONFIG": str(kept.parent)}, {"REGISTRY_AUTH_FILE": str(kept)}):
        store = store_at(locked.address, environ=environ)
        assert read(store, put(store, b"mine")) == b"mine"


@pytest.fixture
def tls(locked, tmp_path, monkeypatch):
    """A proxy that ends TLS before a registry that asks for a password and does not know of the TLS."""
    certificate = certificate_for_this_machine(tmp_path / "tls.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    transports.certificates.cache_clear()
    with registry_proxy(locked.address, certificate=certificate) as opened:
        yield opened
    transports.certificates.cache_clear()


def over_tls(address: str, environ: dict[str, str]) -> Repository:
    """Use TLS for a host of this machine, as for any other."""
    repository = repository_at(address, environ=environ)
    quick = Retry(attempts=2, first_s=0.01)
    repository.transport = Transport(address, "models", plain=False, retry=quick, environ=environ)
    return repository


def test_credentials_for_a_host_with_tls_are_not_sent_without_it(tls, tmp_path):
    repository = over_tls(tls.address, logged_in(tmp_path / "docker", tls.address, auth=basic("anna:right")))
    with pytest.raises(RegistryUnavailable, match="401") as caught:
        repository.put_blob(b"mine")
    assert "X-Forwarded-Proto" in caught.value.hint
    assert {request.scheme for request in tls.requests if request.authorization} == {"https"}
    assert {request.authorization for request in tls.requests if request.scheme == "http"} == {None}


def test_a_proxy_that_forwards_the_scheme_works(tls, tmp_path):
    tls.forwarded = "https"
    repository = over_tls(tls.address, logged_in(tmp_path / "docker", tls.address, auth=basic("anna:right")))
    digest = repository.put_blob(b"mine")
    with repository.open_blob(digest) as file:
        assert file.read() == b"mine"
    assert {request.scheme for request in tls.requests} == {"https"}


def test_a_host_that_a_redirect_leads_to_gets_no_credentials(tmp_path):
    with registry_of_its_own(tmp_path / "server") as server:
        digest = put(store_at(server.address), b"mine")
    with registry_proxy() as elsewhere:
        realm = f'Bearer realm="http://{elsewhere.address}/token",service="theirs",scope="all"'
        ask, token = {"www-authenticate": realm}, Answer(200, b'{"token": "theirs"}')
        elsewhere.override = lambda request: token if "/token" in request.path else Answer(401, b"", ask)
        leads = f"    - name: redirect\n      options:\n        baseurl: http://{elsewhere.address}\n"
        with registry_of_its_own(tmp_path / "server", more=f"middleware:\n  storage:\n{leads}") as server:
            environ = logged_in(tmp_path / "docker", server.address, auth=basic("anna:right"))
            with pytest.raises(RegistryUnavailable, match="401 Unauthorized"):
                store_at(server.address, environ=environ).open(digest)
    assert [request.authorization for request in elsewhere.requests] == [None]


def test_a_token_that_another_thread_gets_meanwhile_is_not_sent_instead(guarded, tmp_path, monkeypatch):
    environ = logged_in(tmp_path / "docker", guarded.address, auth=basic("anna:right"))
    lesser = "Bearer " + guarded.tokens.token(["repository:models:pull"], push=False)
    authenticate = Transport._authenticate

    def overtaken(transport, response):
        header = authenticate(transport, response)
        transport._authorization = lesser
        return header

    # No test can time this moment, at which threads meet once in thousands of uploads.
    monkeypatch.setattr(Transport, "_authenticate", overtaken)
    store = store_at(guarded.address, environ=environ)
    assert read(store, put(store, b"mine")) == b"mine"
