"""The counts under TensorFlow Serving's names."""

from __future__ import annotations

from lading.server.metrics import Metrics
from lading.server.protocols.tfs.metrics import tfs_families


def test_every_family_exists_before_the_first_request(models):
    families = list(tfs_families(Metrics(models.app.plane).summary()))
    assert [family.name.removeprefix(":tensorflow:serving:") for family in families] == [
        "request_count",
        "request_example_count_total",
        "request_latency",
        "batching_session:wrapped_run_count",
    ]
    assert [sample.value for sample in families[-1].samples] == [0]
