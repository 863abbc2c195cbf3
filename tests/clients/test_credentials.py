"""Clients of others with keys, over TLS and with certificates: tritonclient over HTTP and gRPC."""

from __future__ import annotations

import pytest

from support.access_files import Keys
from support.bundles import linear_bundle
from support.certificates import Authority
from support.server_process import serving


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("credentials") / "iris")


def flags_of(tmp_path, authority: Authority, keys: Keys) -> tuple[str, ...]:
    signed = authority.sign("server")
    flags = ("--access", str(keys.write(tmp_path / "access.toml")), "--grpc-port", "0")
    return (*flags, "--tls-cert", str(signed.cert), "--tls-key", str(signed.key))


def test_tritonclient_sends_a_key_as_header_and_as_metadata_over_tls(bundle, tmp_path, in_environment):
    authority, keys = Authority(tmp_path / "ca"), Keys()
    good = keys.add("good", "predict", more='models = ["iris"]')
    other = keys.add("other", "predict", more='models = ["fraud"]')
    with serving(bundle.path, flags=flags_of(tmp_path, authority, keys)) as server:
        http = server.url.removeprefix("https://")
        places = (http, server.grpc_target(), str(authority.path), good, other)
        assert "all of it works" in in_environment("triton", "triton_credentials.py", *places)


def test_tritonclient_is_known_by_its_certificate(bundle, tmp_path, in_environment):
    authority, keys = Authority(tmp_path / "ca"), Keys()
    keys.text = '[[certificates]]\nname = "scorer"\nsubject = "O=Example,CN=scorer"\nroles = ["predict"]\n'
    scorer = authority.sign("scorer")
    flags = (*flags_of(tmp_path, authority, keys), "--tls-client-ca", str(authority.path))
    with serving(bundle.path, flags=flags, ready=False) as server:
        server.wait_until(lambda: "is ready" in server.log or "grpcs://" in server.log)
        http = server.url.removeprefix("https://")
        own = (str(scorer.cert), str(scorer.key))
        places = (http, server.grpc_target(), str(authority.path), "-", "-", *own)
        assert "all of it works" in in_environment("triton", "triton_credentials.py", *places)
