"""Adopting servers of other kinds."""

from __future__ import annotations

import json

import pytest

from support.canned_server import answering


@pytest.mark.slow
def test_a_foreign_server_is_adopted_asked_again_and_forgotten(lading, triton):
    with answering(triton) as server:
        code, stdout, stderr = lading("inventory", "adopt", server)
        assert code == 0
        assert "net:3" in stdout
        assert "triton 2.60.0" in stderr
        triton["GET /v2"] = {"name": "triton", "version": "2.61.0"}
        assert "2.61.0" in lading("inventory", "--ask")[1]
    code, stdout, stderr = lading("inventory", "--ask")
    assert code == 0
    assert "foreign" in stdout
    assert "not asked" in stderr
    name = server.removeprefix("http://")
    assert lading("inventory", "forget", name)[:2] == (0, f"{name}\n")
    assert lading("inventory", "forget", name)[0] == 3


def test_a_server_without_a_known_answer_and_an_unreachable_one_are_not_adopted(lading):
    with answering({}) as server:
        assert lading("inventory", "adopt", server)[0] == 1
    assert lading("inventory", "adopt", server)[0] == 4
    assert lading("inventory", "adopt", "nowhere")[0] == 2
    assert json.loads(lading("inventory", "--json")[1]) == {"replicas": []}
