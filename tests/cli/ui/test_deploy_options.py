"""The options of scaling and of batch runs, taken out of those of a command."""

from __future__ import annotations

import click
import pytest

from lading.cli.ui.deploy_options import BatchLine, ScalingLine, split_parameters
from lading.errors import InvalidSetting

NO_SCALING = {
    "scale_by": None,
    "min_replicas": None,
    "max_replicas": None,
    "prometheus": "",
    "wake_query": "",
}
NO_BATCH = {
    "batch": False,
    "inputs": (),
    "output": "",
    "data_claim": "",
    "schedule": "",
    "batch_options": (),
}


def test_they_are_taken_out_and_others_are_left():
    parameters = {**NO_SCALING, **NO_BATCH, "cpus": 2}
    scaling, batch = split_parameters(parameters)
    assert parameters == {"cpus": 2}
    assert (scaling.is_empty, batch.batch) == (True, False)


def test_what_was_not_written_keeps_its_default():
    scaling = ScalingLine(**{**NO_SCALING, "max_replicas": 5}).scaling()
    assert (scaling.by, scaling.min_pods, scaling.max_pods) == ("cpu", 3, 5)


def test_a_prometheus_without_keda_would_be_ignored_and_is_refused():
    with pytest.raises(click.UsageError, match="need `--autoscale keda`"):
        ScalingLine(**{**NO_SCALING, "prometheus": "http://p"}).scaling()


def test_options_of_a_run_are_read_by_the_command_itself():
    line = {**NO_BATCH, "batch": True, "inputs": ("s3://a",), "output": "s3://b"}
    BatchLine(**line).check()
    with pytest.raises(click.UsageError):
        BatchLine(**{**line, "batch_options": ("--kepp", "id")}).check()


def test_a_job_is_made_of_them():
    line = {**NO_BATCH, "batch": True, "inputs": ("/data/a",), "output": "/data/b", "data_claim": "rows"}
    job = BatchLine(
        **line,
    ).job()
    assert (job.inputs, job.output, job.claim) == (("/data/a",), "/data/b", "rows")
    with pytest.raises(InvalidSetting):
        BatchLine(**{**line, "data_claim": ""}).job()
