"""The names of a client's certificate, as the access file writes them."""

from __future__ import annotations

import pytest

from lading.access.certificates import names_of, peer_names
from support.certificates import Authority


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


def test_the_names_of_a_certificate(authority):
    signed = authority.sign("scorer", uri="spiffe://example.com/scorer")
    assert names_of(signed.cert.read_bytes()) == (
        "O=Example,CN=scorer",
        "DNS:localhost",
        "URI:spiffe://example.com/scorer",
    )


def test_a_connection_without_tls_has_no_names():
    assert peer_names(None) == ()
