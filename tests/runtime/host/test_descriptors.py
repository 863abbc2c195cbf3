"""The budget of connections follows the limit of file descriptors."""

from __future__ import annotations

import resource

import pytest

from lading.runtime.host.descriptors import connection_budget


@pytest.mark.parametrize(
    ("limit", "budget"), [(64, 16), (400, 136), (1024, 448), (resource.RLIM_INFINITY, 524_224)]
)
def test_rest_and_grpc_have_half_each_of_what_is_left(monkeypatch, limit, budget):
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (limit, limit))
    assert connection_budget() == budget
