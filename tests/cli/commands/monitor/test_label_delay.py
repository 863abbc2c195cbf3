"""How late labels come, in the report: only a prediction log knows."""

from __future__ import annotations

import time

import pytest

from lading.traffic import FeedbackCounts
from support.predictions import LogMaker, chunk
from support.recorded_evidence import record_evidence
from support.release_processes import window


@pytest.mark.slow
@pytest.mark.usefixtures("windows")
def test_a_report_says_how_late_the_labels_came_where_a_log_knows(lading, opened, registry, tmp_path):
    record_evidence(opened, "iris:1")
    release, at = opened.release("iris:1", actor="ann"), time.time() - 1800
    digest, counts = opened.resolve("iris:1").digest, FeedbackCounts(right=90, wrong=10)
    fields = {"release": release.number, "version": 1, "digest": digest, "errors": {}, "latency": ()}
    opened.traffic.add_windows([window(at=at, requests=100, feedback=counts, **fields)])
    page = tmp_path / "iris-report.html"
    lading("monitor", "report", "iris")
    assert "accuracy" in page.read_text().lower()
    assert "of the labels came within" not in page.read_text()
    log = LogMaker(registry / "log")
    log.add(chunk(["a", "b", "c"], ended_at=[at] * 3))
    for late, name in ((60, "a"), (600, "b"), (1200, "c")):
        log.label(name, "setosa", at=at + late)
    log.flush()
    lading("monitor", "report", "iris")
    assert "half of the labels came within 10 min of the answer" in page.read_text()
