"""Each operator over a real registry: what it leaves in XCom, and whether its failure is tried again."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from lading.airflow import BatchOperator, MonitorOperator, ReleaseOperator, VerifyOperator
from lading.batch.ledger import Ledger
from lading.registry import Registry
from support.batch_runs import files

pytestmark = pytest.mark.usefixtures("registry")


def perform(kind, **fields):
    return kind(task_id="task", **fields).execute({})


def refused(kind, **fields) -> str:
    with pytest.raises(AirflowFailException) as raised:
        perform(kind, **fields)
    return str(raised.value)


def retried(kind, **fields) -> str:
    with pytest.raises(AirflowException) as raised:
        perform(kind, **fields)
    assert not isinstance(raised.value, AirflowFailException)
    return str(raised.value)


def test_a_bundle_is_verified_and_the_report_has_its_checks(tmp_path):
    report = perform(VerifyOperator, model="iris:2")
    assert (report["name"], report["holds"]) == ("iris", True)
    assert report["checks"]["golden"] == "passed"
    assert len(report["runtime"]) == 12
    gates = tmp_path / "gates.toml"
    gates.write_text("max_latency_p99_ms = 0.000001\n")
    assert "iris" in refused(VerifyOperator, model="iris:2", gates=gates)


def test_rows_are_scored_once_and_the_report_has_numbers_and_digests(tmp_path, rows):
    fields = {"model": "iris:2", "inputs": rows("a.parquet"), "output_folder": tmp_path / "out"}
    report = perform(BatchOperator, **fields, keep=["customer_id"], processes=1)
    numbers = {name: report[name] for name in ("model", "files", "rows", "scored", "rejected", "drift_known")}
    assert numbers == {
        "model": "iris:2", "files": 1, "rows": 1000, "scored": 1000, "rejected": 0, "drift_known": True,
    }  # fmt: skip
    manifest = (tmp_path / "out" / "manifest.json").read_bytes()
    assert report["manifest"] == hashlib.sha256(manifest).hexdigest()
    assert report["plan"] == json.loads(manifest)["plan"]
    before = files(tmp_path / "out")
    again = perform(BatchOperator, **fields, keep=["customer_id"], processes=1)
    assert files(tmp_path / "out") == before
    assert {**again, "seconds": 0, "resumed": 0} == {**report, "seconds": 0, "resumed": 0}


def test_a_run_that_cannot_succeed_later_is_refused_in_ladings_sentence(tmp_path, rows):
    fields = {"model": "iris:2", "output_folder": tmp_path / "out", "processes": 1}
    source = rows("a.parquet", low=50.0, high=60.0)
    message = refused(BatchOperator, **fields, inputs=[source], keep=["nobody"])
    assert message.startswith("input `a.parquet`: expected column `nobody`")
    message = refused(BatchOperator, **fields, inputs=[source], refuse_drift=True)
    assert "expected the distribution of the training data" in message
    rows("a.parquet", rows=500)
    assert "changed since" in refused(BatchOperator, **fields, inputs=source)


def test_an_output_that_another_run_holds_is_tried_again(tmp_path, rows):
    out = tmp_path / "out"
    with Ledger(out).holding():
        message = retried(BatchOperator, model="iris:2", inputs=rows("a.parquet"), output_folder=out)
    assert "one that is at work" in message


def test_a_registry_that_does_not_answer_is_tried_again(tmp_path, rows):
    away = {"registry": "postgresql://127.0.0.1:1/nothing", "env": {"LADING_STORE": str(tmp_path)}}
    batch = {"inputs": rows("a.parquet"), "output_folder": tmp_path / "out"}
    for kind, fields in (
        (VerifyOperator, {}), (BatchOperator, batch), (MonitorOperator, {}), (ReleaseOperator, {}),
    ):  # fmt: skip
        assert "127.0.0.1:1" in retried(kind, model="iris:2", **fields, **away), kind


def test_a_release_begins_once_and_one_with_another_signature_is_refused(tmp_path, registry):
    report = perform(ReleaseOperator, model="iris:2", reason="run 1")
    assert (report["name"], report["number"], report["state"], report["live"]) == ("iris", 2, "live", 2)
    again = perform(ReleaseOperator, model="iris:2", reason="run 2")
    assert again["number"] == 2
    with Registry.open(registry) as opened:
        *_, last = opened.releases.events("iris")
    assert (last.actor, last.reason, last.number) == ("airflow", "run 1", 2)
    assert "expected version `9`" in refused(ReleaseOperator, model="iris:9")
    assert "callers" in refused(ReleaseOperator, model="iris:3")


def test_what_was_scored_is_judged(tmp_path, rows):
    report = perform(
        BatchOperator,
        model="iris:2",
        inputs=rows("a.parquet", low=50.0, high=60.0),
        output_folder=tmp_path / "out",
        processes=1,
    )
    message = refused(MonitorOperator, batch=report)
    assert "expected the distribution of the training data, found another, PSI" in message
    judged = perform(MonitorOperator, batch=report, may_drift=list(report["drifted"]))
    assert judged["batch"]["rows"] == 1000
    # Nobody has asked this model: that is not known, which is said, or refused where it has to be known.
    assert perform(MonitorOperator, model="iris:1")["traffic"]["rows"] == 0
    assert "not known: no row was counted" in refused(MonitorOperator, model="iris:1", refuse_unknown=True)
    with pytest.raises(ValueError, match="expected `batch`, `model` or both"):
        MonitorOperator(task_id="task")


def test_the_lading_of_another_environment_does_the_work(tmp_path):
    command = tmp_path / "my lading"
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nexec "{sys.executable}" -m lading "$@"\n')
    command.chmod(0o755)
    fields = {"model": "iris:1", "lading_command": [str(command)]}
    assert perform(MonitorOperator, **fields)["traffic"]["name"] == "iris"
    assert (tmp_path / "asked").read_text() == "monitor status iris:1 --since=1d --json\n"
    command.write_text('#!/bin/sh\necho \'{"an": "older lading"}\'\n')
    message = refused(MonitorOperator, **fields)
    assert message.startswith("`lading monitor`: expected the JSON of lading ")


@pytest.mark.parametrize("kind", [BatchOperator, MonitorOperator, ReleaseOperator, VerifyOperator])
def test_templates_are_fields(kind):
    fields = {"model": "{{ params.model }}"}
    if kind is BatchOperator:
        fields |= {"inputs": "rows/{{ ds }}.parquet", "output_folder": "scored/{{ ds }}"}
    operator = kind(task_id="task", **fields)
    context = {"params": {"model": "iris:2"}, "ds": "2026-11-30", "run_id": "one", "dag": operator}
    operator.render_template_fields(context)
    assert operator.model == "iris:2"
    if kind is BatchOperator:
        assert (operator.inputs, operator.output_folder) == ("rows/2026-11-30.parquet", "scored/2026-11-30")
