"""MLflow's scoring server, by its two routes."""

from __future__ import annotations

import pytest

from lading.errors import RemoteError
from lading.inventory import adopt
from support.canned_server import answering


def test_mlflow_is_recognised_by_its_version_and_its_ping():
    with answering({"GET /version": b"3.1.0", "GET /ping": b"\n"}) as server:
        replica = adopt(server, ["churn"])
    (model,) = replica.models
    assert (replica.software, model.name, model.state) == ("mlflow 3.1.0", "churn", "ready")


def test_a_model_of_mlflow_that_fails_its_ping_is_unavailable_and_has_a_name_of_ours():
    with answering({"GET /version": b'"3.1.0"'}) as server:
        (model,) = adopt(server).models
    assert (model.name, model.state) == ("model", "unavailable")


def test_a_web_server_with_any_page_at_version_is_not_mlflow():
    with answering({"GET /version": b"<html>welcome</html>"}) as server, pytest.raises(RemoteError):
        adopt(server)
