"""A DAG for Airflow 3: each day's rows are scored and judged, and only then does a version go live.

A copy of this file in Airflow's `dags` folder is all that it takes; `airflow variables` or the environment
say where things are, and a run may name another model.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from lading.airflow import BatchOperator, MonitorOperator, ReleaseOperator, ReleaseSensor, VerifyOperator

DATA = os.environ.get("IRIS_DATA", "/srv/iris")

with DAG(
    "iris_daily",
    description="Score a day's rows; release the version if they are as in training",
    # `ds` is the day that has ended when its run begins; of a plain "@daily" it is the day that begins.
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # One day after the other: two runs never release at the same time.
    max_active_runs=1,
    params={"model": "iris:1"},
    # An outage is tried again; what lading refuses fails at once, whatever is written here.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
) as dag:
    verify = VerifyOperator(task_id="verify", model="{{ params.model }}")
    batch = BatchOperator(
        task_id="batch",
        model="{{ params.model }}",
        inputs=f"{DATA}/rows/{{{{ ds }}}}.parquet",
        output_folder=f"{DATA}/scored/{{{{ ds }}}}",
        keep=["customer_id"],
        max_rejected="1%",
    )
    monitor = MonitorOperator(task_id="monitor", batch=batch.output)
    release = ReleaseOperator(task_id="release", model="{{ params.model }}")
    live = ReleaseSensor(task_id="live", release=release.output, timeout=timedelta(hours=12))

    verify >> batch >> monitor >> release >> live
