"""Adopting servers: what is refused, and that no password is kept."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting, ServerUnavailable, UsageError
from lading.inventory import adopt
from support.canned_server import answering
from support.ports import free_port

TRITON = {"GET /v2": {"name": "triton", "version": "2.60.0"}, "POST /v2/repository/index": []}


def test_the_id_of_a_server_is_its_address_and_the_models_to_ask_about_are_kept():
    with answering(TRITON) as server:
        replica = adopt(server, ["net", "other"])
    assert (replica.id, replica.address) == (server.removeprefix("http://"), server)
    assert (replica.pattern, replica.settings) == ("foreign", {"models": "net,other"})


def test_a_lading_server_is_not_adopted():
    answers = {"GET /v2": {"name": "lading", "version": "0.1.0"}}
    with answering(answers) as server, pytest.raises(UsageError, match="registers itself"):
        adopt(server)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:port"])
def test_an_invalid_address_is_refused(address):
    with pytest.raises(InvalidSetting):
        adopt(address)


@pytest.mark.parametrize(
    "address",
    ["http://me:secret@x:port", "http://me:sec/secret@x", "me:secret@x:8000", "ftp://me:secret@x"],
)
def test_the_error_of_an_invalid_address_shows_no_password(address):
    with pytest.raises(InvalidSetting, match="x") as caught:
        adopt(address)
    assert "sec" not in str(caught.value)


def test_a_password_in_the_address_is_not_kept():
    with answering(TRITON) as server:
        replica = adopt(server.replace("http://", "http://me:secret@"))
    assert "secret" not in repr(replica)


def test_an_unreachable_server_is_reported():
    with pytest.raises(ServerUnavailable):
        adopt(f"http://127.0.0.1:{free_port()}")
