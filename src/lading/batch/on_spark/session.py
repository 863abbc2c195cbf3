"""The session of Spark that a run uses: one that exists, or one of its own, which ends with it."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyspark
from pyspark.sql import SparkSession

from lading.errors import InvalidSetting, NotSupported
from lading.runtime.host.cpus import cpu_limit

_REMOTE = "sc://"
_LOCAL = "local"
_TRIES = 4

_OWN = {
    # The page of a session listens on all addresses of a machine, and knows no users.
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}
_ON_A_CLUSTER = {
    # A machine on which the bundle does not hold fails at once, and would take the tries of every part.
    "spark.excludeOnFailure.enabled": "true",
    "spark.excludeOnFailure.task.maxTaskAttemptsPerNode": str(_TRIES - 1),
    "spark.excludeOnFailure.stage.maxFailedTasksPerExecutor": str(_TRIES),
}
_HERE = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}


@contextmanager
def spark_session(master: str, processes: int, name: str) -> Iterator[Any]:
    """Use the session that is active, else start one of `master` and end it afterwards.

    `master` is as Spark writes it, ``sc://…`` for Spark Connect; empty, it is what ``SPARK_REMOTE``,
    ``spark-submit`` or Spark's configuration say, and without any of them this machine with `processes`.
    Raises `NotSupported` without a Java to run Spark, and `InvalidSetting` for a master that there is not.
    """
    active = active_session()
    if active is not None:
        yield active
        return
    started = _started(master, processes, name)
    try:
        yield started
    finally:
        started.stop()


def active_session() -> Any:
    """Return the session that is active in this process, or None."""
    try:
        return SparkSession.active()
    except pyspark.errors.PySparkRuntimeError:
        return None


def is_connect(session: Any) -> bool:
    """Return whether a session is one of Spark Connect, which has neither RDDs nor accumulators."""
    return ".connect." in type(session).__module__


def _started(master: str, processes: int, name: str) -> Any:
    builder: Any = SparkSession.builder.appName(name)
    for key, value in _OWN.items():
        builder = builder.config(key, value)
    if master.startswith(_REMOTE) or (not master and os.environ.get("SPARK_REMOTE")):
        # What the session may do is then the server's to say.
        return _opened(SparkSession.builder.remote(master) if master else SparkSession.builder, master)
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        hint = "on Debian `apt-get install openjdk-17-jre-headless`, or a server of Spark Connect (`sc://…`)"
        raise NotSupported("Spark", expected="Java 17 or newer on this machine", found="none", hint=hint)
    # Spark would run the first `python3` of the path, which may not have lading.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    submitted = "PYSPARK_SUBMIT_ARGS" in os.environ or "SPARK_CONF_DIR" in os.environ
    master = master or ("" if submitted else f"{_LOCAL}[{processes or cpu_limit()},{_TRIES}]")
    if master:
        builder = builder.master(master)
    for key, value in (_HERE if master.startswith(f"{_LOCAL}[") else _ON_A_CLUSTER).items():
        builder = builder.config(key, value)
    return _opened(builder, master)


def _opened(builder: Any, master: str) -> Any:
    from py4j.protocol import Py4JError

    try:
        with warnings.catch_warnings():
            # Spark's modules remark on pandas when they are first imported; nothing here uses it.
            warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
            return builder.getOrCreate()
    # What goes wrong with a master has no common class in Spark.
    except (pyspark.errors.PySparkException, Py4JError) as error:
        where = f"Spark at `{master or os.environ.get('SPARK_REMOTE', '')}`"
        actual = first_line(error)
        raise InvalidSetting(where, expected="a session", found=actual) from error


def first_line(error: BaseException) -> str:
    """Return what an error of Spark says, without the stacks of two languages."""
    java = getattr(error, "java_exception", None)
    text = str(java.toString() if java is not None else error)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
