"""The cookie of a session, as browsers keep and drop it."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response

from lading.hub.access import Access
from lading.hub.access.cookies import drop_session, keep_session, session_of

KEY = "0123456789abcdef" * 4


def request(scheme: str, cookie: str = "") -> Request:
    headers = [(b"cookie", cookie.encode())] if cookie else []
    return Request({"type": "http", "scheme": scheme, "headers": headers, "path": "/", "server": ("hub", 80)})


@pytest.mark.parametrize(("scheme", "other"), [("http", "https"), ("https", "http")])
def test_a_session_is_known_by_its_cookie_over_the_same_scheme(scheme, other):
    access, response = Access(KEY), Response()
    ann = access.begin("ann")
    keep_session(response, access, ann, request(scheme))
    pair = response.headers["set-cookie"].partition(";")[0]
    assert session_of(access, request(scheme, pair)) == ann
    # One that was set over plain HTTP, by anybody on the way, is not believed over TLS.
    assert session_of(access, request(other, pair)) is None
    drop_session(response, request(scheme))
    kept, dropped = response.headers.getlist("set-cookie")
    assert dropped.partition("=")[0] == kept.partition("=")[0]
    assert "max-age=0" in dropped.lower()
