"""Access control and TLS of a real server: REST and gRPC, one process and several, files that change."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator

import grpc
import httpx
import pytest

import lading
from lading.errors import InvalidSetting, RemoteError
from lading.server.process.security import check_security, is_this_machine
from lading.settings import ServeSettings
from support.access_files import Keys
from support.bundles import linear_bundle
from support.certificates import Authority
from support.grpc_client import ask
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

ROW = [[5.1, 3.5, 1.4, 0.2]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("bundle") / "iris.bundle")


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    made = Keys()
    made.add("scoring", "predict", more='models = ["iris"]')
    made.add("reader", "read")
    made.add("other", "predict", more='models = ["fraud"]')
    made.text += '[[certificates]]\nname = "scorer"\nsubject = "O=Example,CN=scorer"\nroles = ["predict"]\n'
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority, bundle, keys) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    signed = authority.sign("server")
    flags = ("--grpc-port", "0", "--access", str(keys.write(folder / "access.toml")), "--log-format", "json")
    flags += ("--tls-cert", str(signed.cert), "--tls-key", str(signed.key))
    flags += ("--tls-client-ca", str(authority.path), "--tls-clients", "optional")
    with serving(bundle.path, flags=flags) as running:
        running.folder = folder
        yield running


def trusting(authority: Authority, *cert: object) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if cert:
        context.load_cert_chain(*map(str, cert))
    return context


def code_of(call: object) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.slow
def test_the_python_client_asks_with_a_key_over_tls(server, authority, keys, monkeypatch):
    with lading.Client(server.url, model="iris", ca=authority.path, key=keys.by_name["scoring"]) as client:
        assert len(client.predict(ROW)) == 1
    monkeypatch.setenv("LADING_KEY", keys.by_name["scoring"])
    with lading.Client(server.url, ca=authority.path) as client:
        assert len(client.predict(ROW)) == 1
    monkeypatch.setenv("LADING_KEY", keys.by_name["other"])
    with lading.Client(server.url, model="iris", ca=authority.path) as client:
        with pytest.raises(RemoteError) as refused:
            client.predict(ROW)
        assert (refused.value.status, refused.value.code) == (403, "AccessDenied")


@pytest.mark.slow
def test_a_client_certificate_is_a_caller(server, authority):
    for name, status in (("scorer", 200), ("stranger", 401)):
        signed = authority.sign(name)
        with httpx.Client(verify=trusting(authority, signed.cert, signed.key)) as client:
            for path in ("/predict", "/models/iris/predict"):
                assert client.post(f"{server.url}{path}", json={"data": ROW}).status_code == status
            assert client.get(f"{server.url}/metrics").status_code == (403 if status == 200 else 401)


@pytest.mark.slow
def test_a_certificate_of_another_authority_is_refused_by_tls(server, authority, tmp_path):
    signed = Authority(tmp_path / "other", "other").sign("scorer")
    with (
        httpx.Client(verify=trusting(authority, signed.cert, signed.key)) as client,
        pytest.raises(httpx.TransportError),
    ):
        client.post(f"{server.url}/predict", json={"data": ROW})


@pytest.mark.slow
def test_tls_1_1_is_refused(server, authority):
    context = trusting(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with httpx.Client(verify=context) as client, pytest.raises(httpx.ConnectError):
        client.get(f"{server.url}/health")


@pytest.mark.slow
def test_grpc_has_the_same_certificate_and_the_same_keys(server, authority, keys):
    credentials = grpc.ssl_channel_credentials(authority.path.read_bytes())
    with grpc.secure_channel(server.grpc_target(), credentials) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelMetadata")
        message = b"\x0a\x04iris"
        metadata = tuple(keys.header("scoring").items())
        assert code_of(lambda: call(message, timeout=10, metadata=metadata)) is grpc.StatusCode.OK
        assert code_of(lambda: call(message, timeout=10)) is grpc.StatusCode.UNAUTHENTICATED
        denied = tuple(keys.header("other").items())
        assert (
            code_of(lambda: call(message, timeout=10, metadata=denied)) is grpc.StatusCode.PERMISSION_DENIED
        )
    with grpc.insecure_channel(server.grpc_target()) as channel:
        assert code_of(lambda: ask(channel, "ServerLive", timeout=5)) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
def test_a_scrape_with_a_bearer_token_from_a_file(server, authority, keys, tmp_path):
    (tmp_path / "token").write_text(keys.by_name["reader"] + "\n")
    header = {"authorization": f"Bearer {(tmp_path / 'token').read_text().strip()}"}  # As Prometheus does.
    page = httpx.get(f"{server.url}/metrics", headers=header, verify=trusting(authority))
    assert page.status_code == 200
    assert "lading_" in page.text


@pytest.mark.slow
def test_curl_asks_with_a_key(server, authority, keys):
    command = ["curl", "--silent", "--cacert", str(authority.path), "--data", json.dumps({"data": ROW})]
    command += ["--write-out", "%{http_code}", f"{server.url}/predict"]
    for header, status in ((keys.header("scoring"), "200"), ({}, "401"), (keys.header("reader"), "403")):
        words = [word for name, value in header.items() for word in ("--header", f"{name}: {value}")]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
        assert done.stdout.endswith(status)


@pytest.mark.slow
def test_refusals_are_audited_by_name_and_no_key_is_in_the_log(server, authority, keys):
    httpx.post(
        f"{server.url}/predict", json={"data": ROW}, headers=keys.header("other"), verify=trusting(authority)
    )
    server.wait_until(lambda: '\\"error\\": \\"AccessDenied\\", \\"caller\\": \\"other\\"' in server.log)
    assert not any(key in server.log for key in keys.by_name.values())


@pytest.mark.slow
def test_a_new_certificate_is_taken_and_open_connections_stay(server, authority, keys):
    with httpx.Client(verify=trusting(authority), headers=keys.header("scoring")) as client:
        assert client.post(f"{server.url}/predict", json={"data": ROW}).status_code == 200
        before = _served(server)
        authority.sign("server")
        server.wait_until(lambda: "was read again" in server.log)
        assert _served(server) != before
        # The connection was made with the old one, and is still the same.
        assert client.post(f"{server.url}/predict", json={"data": ROW}).status_code == 200
    target = server.grpc_target().split(":")
    wait_until(lambda: ssl.get_server_certificate((target[0], int(target[1]))) == _served(server))


@pytest.mark.slow
def test_a_new_access_file_holds_within_seconds_and_a_bad_one_changes_nothing(server, authority, keys):
    path = server.folder / "access.toml"
    url, verify = f"{server.url}/metrics", trusting(authority)

    def status(header: dict[str, str]) -> int:
        return httpx.get(url, headers=header, verify=verify).status_code

    path.write_text("[[kees]]")
    server.wait_until(lambda: "what was read before still holds" in server.log)
    assert "did you mean" in server.log or "kees" in server.log
    assert status(keys.header("reader")) == 200
    later = Keys(text=keys.text)
    later.add("later", "read")
    later.write(path)
    wait_until(lambda: status(later.header("later")) == 200)
    keys.write(path)
    wait_until(lambda: status(later.header("later")) == 401)
    assert status(keys.header("reader")) == 200


@pytest.mark.slow
def test_workers_share_limits_certificates_and_keys(tmp_path, authority, bundle):
    keys = Keys()
    keys.add("a", "predict", more='quota = "20/d"')
    signed = authority.sign("workers")
    flags = ("--workers", "2", "--grpc-port", "-1", "--access", str(keys.write(tmp_path / "access.toml")))
    flags += ("--tls-cert", str(signed.cert), "--tls-key", str(signed.key))
    with serving(bundle.path, flags=flags) as server:
        statuses = []
        for _ in range(8):  # Each over a connection of its own, of which workers share what comes.
            with httpx.Client(verify=trusting(authority), headers=keys.header("a")) as client:
                url = f"{server.url}/predict"
                statuses += [client.post(url, json={"data": ROW}).status_code for _ in range(5)]
        assert statuses.count(200) == 20
        assert statuses.count(429) == 20


def test_files_that_cannot_be_used_fail_the_start_of_workers_too(tmp_path, authority):
    (tmp_path / "access.toml").write_text("[[kees]]")
    with pytest.raises(InvalidSetting, match="kees"):
        check_security(ServeSettings(access=str(tmp_path / "access.toml")))
    signed = authority.sign("old", days=-1)
    with pytest.raises(InvalidSetting, match="expired"):
        check_security(ServeSettings(tls_cert=str(signed.cert), tls_key=str(signed.key)))


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("unix:/x", True), ("0.0.0.0", False),
     ("::", False), ("10.1.2.3", False), ("example.com", False)],
)  # fmt: skip
def test_an_address_of_this_machine_alone(host, is_local):
    assert is_this_machine(host) is is_local


@pytest.mark.slow
def test_a_server_for_everybody_says_so_once(bundle):
    with serving(bundle.path, flags=("--host", "0.0.0.0", "--grpc-port", "-1")) as server:
        assert server.log.count("ACCESS CONTROL IS OFF") == 1


def _served(server: ServerProcess) -> str:
    host, port = server.url.removeprefix("https://").split(":")
    return ssl.get_server_certificate((host, int(port)))
