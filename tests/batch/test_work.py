"""A machine that has a bundle and credentials scores from a bucket to a bucket alone."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile

import pytest

from lading.batch import plan as planning
from lading.batch.inputs import find_inputs
from lading.batch.ledger import Ledger
from lading.batch.plan import make_plan
from lading.batch.recording import Recorder
from lading.batch.run import run_batch
from lading.batch.spool import Spool
from lading.batch.survey import look_at
from lading.batch.work import Work
from lading.runtime.python.host import DEFAULT_HOST
from support.batch_runs import HERE, files

SCORE = """
import pickle, sys
work = pickle.loads(sys.stdin.buffer.read())
scorer = work.scorer()
done = [scorer.score(task, work.parts) for task in work.plan.tasks]
scorer.close()
sys.stdout.buffer.write(pickle.dumps(done))
"""


@pytest.mark.slow
def test_another_machine_scores_what_this_one_publishes(tmp_path, iris, parquet, bucket, monkeypatch):
    monkeypatch.setattr(planning, "PART_ROWS", 500)
    source = parquet("rows.parquet", 1500, group=500)
    run_batch(iris, [source], tmp_path / "whole", HERE)
    bucket.put("in/rows.parquet", source)
    inputs, spool = find_inputs([f"{bucket.url}/in"]), Spool()
    planned, spans = look_at(inputs.files, spool, lambda _: None)
    spool.close()
    signature = iris.manifest.signature
    plan = make_plan(planned, iris.digest, iris.manifest.name, signature, HERE.keep, spans=spans)
    ledger = Ledger(f"{bucket.url}/out")
    work = pickle.dumps(Work(iris.path, iris.digest, plan, ledger.parts, DEFAULT_HOST))
    assert b"testing" not in work  # The key of this test, which the other machine has by itself.
    with tempfile.TemporaryDirectory() as elsewhere, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", elsewhere)
        command = [sys.executable, "-c", SCORE]
        answer = subprocess.run(command, input=work, stdout=subprocess.PIPE, check=True)
    with ledger.holding():
        ledger.begin(plan)
        for done in pickle.loads(answer.stdout):
            ledger.record(done)
    # Everything is done: what goes on publishes.
    recorder = Recorder(progress=lambda *_: pytest.fail("nothing was left to score"))
    run = run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE, recorder=recorder)
    assert run.resumed == 3
    assert bucket.output("out") == files(tmp_path / "whole")
