"""Which forms the hub takes: from its own pages, through a proxy that says where they came from."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from lading.errors import OriginRefused
from lading.hub.access.forms import check_origin


def request(scheme: str = "http", **headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "scheme": scheme, "headers": pairs, "path": "/", "server": ("x", 80)})


@pytest.mark.parametrize(
    ("scheme", "headers"),
    [
        ("http", {"host": "hub:8080", "origin": "http://hub:8080"}),
        ("http", {"host": "127.0.0.1:8080", "sec_fetch_site": "same-origin"}),
        ("https", {"host": "Hub.example", "origin": "https://hub.example", "sec_fetch_site": "same-origin"}),
        # A proxy that takes TLS off and does not say so.
        ("http", {"host": "hub.example", "origin": "https://hub.example"}),
        ("http", {"host": "[::1]:8080", "origin": "http://[::1]:8080"}),
    ],
)
def test_a_form_of_the_hub_itself_is_taken(scheme, headers):
    check_origin(request(scheme, **headers))


@pytest.mark.parametrize(
    ("scheme", "headers"),
    [
        ("https", {"host": "hub.example", "origin": "http://hub.example"}),
        ("http", {"host": "127.0.0.1:8080", "origin": "http://hub.example"}),
        ("http", {"host": "hub", "referer": "http://hub/"}),
        ("http", {"origin": "http://hub"}),
    ],
)
def test_a_form_of_elsewhere_is_refused(scheme, headers):
    with pytest.raises(OriginRefused):
        check_origin(request(scheme, **headers))
