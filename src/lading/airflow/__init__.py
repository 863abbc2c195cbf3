"""Operators and a sensor for Airflow: verify, batch, monitor, release, as the tasks of a DAG.

Each runs a `lading` command in a process of its own, of this environment or of another one. Nothing of a
model runs in the process of a task.
"""

from __future__ import annotations

from lading.errors import missing_extra

try:
    from lading.airflow.operators import BatchOperator, MonitorOperator, ReleaseOperator, VerifyOperator
    from lading.airflow.sensors import ReleaseSensor
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "airflow":
        raise
    raise missing_extra("`lading.airflow`", "airflow", error) from error

__all__ = ["BatchOperator", "MonitorOperator", "ReleaseOperator", "ReleaseSensor", "VerifyOperator"]
