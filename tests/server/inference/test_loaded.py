"""What requests read of a loaded model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lading.runtime.open import load_runtime
from lading.server.inference.loaded import Cost, LoadedModel
from support.bundles import IRIS, linear_bundle


@pytest.fixture
def model(tmp_path) -> LoadedModel:
    bundle = linear_bundle(tmp_path / "iris")
    return LoadedModel.of(bundle, load_runtime(bundle, threads=1), "iris:3")


def test_a_model_has_the_signature_labels_and_samples_of_its_bundle(model):
    assert model.signature == model.bundle.manifest.signature
    assert tuple(model.labels.values()) == IRIS
    assert model.samples.rows == 16


def test_answers_name_the_bundle_over_http_and_grpc_alike(model):
    digest = model.bundle.digest
    assert model.headers == ((b"x-lading-model", b"iris:3"), (b"x-lading-digest", digest.encode()))
    assert model.header_block == f"x-lading-model: iris:3\r\nx-lading-digest: {digest}\r\n".encode()
    assert model.metadata == (("x-lading-model", "iris:3"), ("x-lading-digest", digest))


def test_plans_of_protocols_outlive_a_new_measure_of_the_cost(model):
    model.plans["protocol"] = "plan"
    assert replace(model, cost=Cost(1.0, 0.1)).plans == {"protocol": "plan"}


def test_the_cost_of_a_run_grows_with_its_rows():
    cost = Cost(first_row_s=1.0, further_row_s=0.25)
    assert [cost.of(rows) for rows in (1, 2, 5)] == [1.0, 1.25, 2.0]
