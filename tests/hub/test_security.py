"""The hub as a process with the files of servers: keys, and TLS that follows its certificate."""

from __future__ import annotations

import os
import ssl

import httpx
import pytest

from lading.errors import InvalidSetting
from lading.hub.listening import HubSecurity
from lading.hub.security import opened_access, opened_tls
from support.access_files import Keys
from support.certificates import Authority
from support.hub_process import running_hub
from support.waiting import wait_until


@pytest.mark.slow
def test_pages_over_tls_for_those_who_may_read(tmp_path):
    authority, keys = Authority(tmp_path / "ca"), Keys()
    keys.add("ann", "read")
    signed = authority.sign("hub")
    flags = ("--access", str(keys.write(tmp_path / "access.toml")), "--tls-cert", str(signed.cert))
    environ = {**os.environ, "LADING_REGISTRY": str(tmp_path / "registry")}
    log = tmp_path / "log"
    verify = ssl.create_default_context(cafile=str(authority.path))
    with running_hub(environ, log, *flags, "--tls-key", str(signed.key)) as url:
        assert url.startswith("https://")
        with httpx.Client(base_url=url, verify=verify) as client:
            assert client.get("/health").status_code in (200, 503)
            assert client.get("/api/home").status_code == 401
            wait_until(lambda: client.get("/api/home", headers=keys.header("ann")).status_code == 200)
            assert client.get("/").headers["location"] == "/sign-in"
            before = _served(url)
            authority.sign("hub")
            wait_until(lambda: _served(url) != before)
            assert client.get("/api/home", headers=keys.header("ann")).status_code == 200
        with httpx.Client(base_url=url, verify=verify) as client:
            assert client.get("/api/home", headers=keys.header("ann")).status_code == 200
    assert keys.by_name["ann"] not in log.read_text()


def test_without_files_the_hub_is_as_it_was():
    assert opened_access(HubSecurity(), None) is None
    assert opened_tls(HubSecurity(), None) is None


def test_a_certificate_without_its_key_is_a_sentence():
    with pytest.raises(InvalidSetting, match="`tls_key`"):
        opened_tls(HubSecurity(tls_cert="hub.pem"), None)


def _served(url: str) -> str:
    host, port = url.removeprefix("https://").split(":")
    return ssl.get_server_certificate((host, int(port)))
