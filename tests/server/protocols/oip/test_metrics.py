"""The counts under Triton's names."""

from __future__ import annotations

from lading.server.metrics import Metrics
from lading.server.protocols.oip.metrics import triton_families


def test_every_family_exists_before_the_first_request(client):
    metrics = Metrics(client.app.plane)
    metrics.publish()
    families = list(triton_families(metrics.summary()))
    names = [family.name for family in families]
    assert names == [
        "nv_inference_request_success",
        "nv_inference_request_failure",
        "nv_inference_count",
        "nv_inference_exec_count",
        "nv_inference_request_duration_us",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_compute_input_duration_us",
        "nv_inference_compute_output_duration_us",
        "nv_inference_pending_request_count",
    ]
    waiting = {tuple(sample.labels.values()): sample.value for sample in families[-1].samples}
    assert waiting["iris", "2"] == 0
