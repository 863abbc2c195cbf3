"""Who may change something: pages and names that are this server's, and clients that are no browser."""

from __future__ import annotations

import socket

import pytest

from lading.errors import InvalidSetting
from lading.server.http.cors import Cors
from lading.server.http.origins import Origins
from support.hosted_app import AppClient, hosted

FEEDBACK = {"request_id": "a", "label": "setosa"}
# Accepted requests get as far as the feedback itself, which needs a release.
ACCEPTED, REFUSED = 501, 403


def status(client: AppClient, **headers: str) -> int:
    return client.post("/models/iris/feedback", FEEDBACK, headers=headers).status_code


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "iris.prod.svc:8000"}, ACCEPTED),  # No browser.
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, ACCEPTED),  # The page `/docs`.
        ({"host": "[::1]:8000", "origin": "http://[::1]:8000"}, ACCEPTED),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, ACCEPTED),
        ({"host": f"{socket.gethostname()}:8000", "origin": f"http://{socket.gethostname()}:8000"}, ACCEPTED),
        ({"host": "127.0.0.1:8000", "origin": "https://evil.example"}, REFUSED),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:3000"}, REFUSED),
        ({"host": "127.0.0.1:8000", "origin": "null"}, REFUSED),
        # A name of somebody else that resolves to this server.
        ({"host": "evil.example:8000", "origin": "http://evil.example:8000"}, REFUSED),
        ({"host": "127.0.0.1.evil.example", "origin": "http://127.0.0.1.evil.example"}, REFUSED),
    ],
)
def test_a_page_of_another_site_changes_nothing(served, headers, expected):
    assert status(hosted(served), **headers) == expected


def test_an_allowed_origin_and_a_name_of_the_server_may_change_something(served):
    client = hosted(served, cors_origins="https://ours.example", allowed_hosts="ml.example.com, iris")
    assert status(client, host="10.0.0.1", origin="https://ours.example") == ACCEPTED
    assert status(client, host="ml.example.com", origin="https://ml.example.com") == ACCEPTED
    assert status(client, host="upstream:8000", origin="https://ML.example.com") == ACCEPTED
    assert status(client, host="iris:8000") == ACCEPTED
    assert status(client, host="10.0.0.1:8000") == ACCEPTED
    assert status(client, host="other.example") == REFUSED
    assert status(client, host="ml.example.com", origin="https://evil.example") == REFUSED


def test_predictions_are_for_everybody_and_the_refusal_says_what_allows_more(served):
    client = hosted(served, allowed_hosts="ml.example.com")
    headers = {"host": "evil.example", "origin": "https://evil.example"}
    assert client.post("/predict", {"data": [[1.0] * 4]}, headers=headers).status_code == 200
    refusal = client.post("/models/iris/feedback", FEEDBACK, headers=headers).json()
    assert "found `https://evil.example`" in refusal["error"]
    assert "--allowed-hosts" in refusal["hint"]


@pytest.mark.parametrize("hosts", ["ml.example.com:8000", "https://ml.example.com", "a b"])
def test_a_name_with_more_than_a_name_is_refused(hosts):
    with pytest.raises(InvalidSetting):
        Origins(hosts, Cors(""))


def test_every_route_that_changes_something_is_checked(served):
    checked = {route.pattern for route in hosted(served).app.router.routes if route.changes_state}
    submissions = {f"/models/{{name}}{part}/jobs" for part in ("", "/tags/{tag}", "/versions/{version}")}
    assert checked == {"/models/{name}/feedback", "/jobs/{id}", *submissions}
