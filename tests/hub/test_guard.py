"""Which hosts a hub answers for."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from lading.hub.guard import WithHeaders


def status(host: str, hosts: frozenset[str]) -> int:
    async def ask() -> int:
        transport = httpx.ASGITransport(WithHeaders(PlainTextResponse("yes"), hosts))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            return (await client.get("/", headers={"host": host})).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "LocalHost:1", "[::1]", "[::1]:8080"])
def test_a_hub_of_this_machine_answers_to_its_own_names(host):
    assert status(host, frozenset({"127.0.0.1", "localhost", "[::1]"})) == 200


@pytest.mark.parametrize("host", ["hub.example", "127.0.0.1.x", "127.0.0.1:80@x", "[::1]x", "localhost:", ""])
def test_others_get_nothing(host):
    assert status(host, frozenset({"127.0.0.1", "localhost", "[::1]"})) == 421


def test_a_hub_behind_a_proxy_answers_to_every_name():
    assert status("hub.example", frozenset()) == 200
