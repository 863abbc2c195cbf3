"""Rows of a run in the prediction log and in the monitoring: as the same rows asked of a server."""

from __future__ import annotations

import msgspec
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.linear_model import LogisticRegression

import lading
from lading.batch import plan as planning
from lading.batch.recording import Recorder
from lading.batch.run import Options, run_batch
from lading.bundle import Bundle
from lading.errors import UsageError
from lading.monitor.driver import MonitorDriver
from lading.monitor.log.reader import open_log
from lading.monitor.replay import replay_log
from lading.monitor.snapshot import snapshot
from lading.registry import Registry
from lading.runtime.open import load_runtime
from lading.server.observe.chunks import RowChunk
from lading.server.observe.columns import ColumnWindows
from support.batch_runs import COLUMNS
from support.bundles import linear_bundle
from support.echo_models import sum_bundle
from support.predictions import NOON, LogMaker, chunk, served

ROWS = 900


@pytest.fixture
def rows(tmp_path, monkeypatch) -> pa.Table:
    """Return rows in three parts, two of which do not fit."""
    monkeypatch.setattr(planning, "PART_ROWS", 300)
    values = np.random.default_rng(0).uniform(0, 7, (ROWS, 4)).astype(np.float32)
    values[[5, 700], 2] = np.nan
    table = pa.table({name: values[:, at] for at, name in enumerate(COLUMNS)})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=300)
    return table


def run(tmp_path, bundle: Bundle, out: str = "out", **options) -> object:
    log = str(tmp_path / "log")
    settings = Options(processes=1, log=log, **options)
    return run_batch(bundle, [tmp_path / "rows.parquet"], tmp_path / out, settings, model="iris:3")


def asked(tmp_path, bundle: Bundle, inputs: dict[str, np.ndarray], name: str = "iris") -> LogMaker:
    """Return the log of a server that was asked for the same rows."""
    log = LogMaker(tmp_path / "asked")
    runtime = load_runtime(bundle)
    answers = runtime.run_whole(inputs)
    runtime.close()
    ids = [f"{at:04d}" for at in range(len(next(iter(inputs.values()))))]
    version = served(bundle.manifest.signature, name=name, version=3)
    version.digest = bundle.digest
    log.add(chunk(ids, served=version, inputs=inputs, outputs=answers, ended_at=[NOON] * len(ids)))
    log.flush()
    return log


def fitting(rows: pa.Table) -> np.ndarray:
    values = np.stack([rows[name].to_numpy() for name in COLUMNS], axis=1)
    return values[~np.isnan(values).any(axis=1)]


def test_the_log_of_a_run_is_that_of_the_same_rows_asked_of_a_server(tmp_path, iris, rows):
    done = run(tmp_path, iris)
    assert (done.logged.records, done.logged.before) == (ROWS - 2, 0)
    server = asked(tmp_path, iris, {"X": fitting(rows)})
    columns = "version, digest, release, side, status, error, warnings, inputs, outputs"
    both = [
        open_log(str(root)).query("iris", f"SELECT {columns} FROM log ORDER BY inputs.sepal_length")
        for root in (tmp_path / "log", server.root)
    ]
    assert both[0].schema == both[1].schema
    assert both[0].to_pylist() == both[1].to_pylist()
    (latencies,) = (
        open_log(str(tmp_path / "log")).query("iris", "SELECT count(latency_s) n FROM log").to_pylist()
    )
    assert latencies == {"n": 0}


@pytest.mark.slow
def test_a_replay_of_a_run_shows_what_a_replay_of_traffic_shows(tmp_path, iris, rows):
    run(tmp_path, iris)
    server = asked(tmp_path, iris, {"X": fitting(rows)})
    for candidate in (iris, linear_bundle(tmp_path / "other", seed=5)):
        runtime = load_runtime(candidate)
        first, second = (
            replay_log(open_log(str(root)), "iris", candidate.manifest, runtime)
            for root in (tmp_path / "log", server.root)
        )
        runtime.close()
        assert msgspec.structs.replace(first, worst=()) == msgspec.structs.replace(second, worst=())
        assert [row.excess for row in first.worst] == [row.excess for row in second.worst]
    assert first.differing


def test_each_row_is_logged_once_however_often_the_run_is_repeated_or_killed(tmp_path, iris, rows):
    run(tmp_path, iris)
    log = open_log(str(tmp_path / "log"))
    files = sorted((tmp_path / "log").rglob("*.parquet"))
    assert len(files) == 3
    # As a kill between two files leaves it.
    files[1].unlink()
    again = run(tmp_path, iris)
    assert (again.logged.records, again.logged.before) == (ROWS - 2, ROWS - 302)
    # Scored once more elsewhere, by the same bundle: the same rows.
    other = run(tmp_path, iris, out="elsewhere")
    assert other.logged.before == other.logged.records
    (counted,) = log.query("iris", "SELECT count(*) n, count(DISTINCT id) ids FROM log").to_pylist()
    assert counted == {"n": ROWS - 2, "ids": ROWS - 2}


def test_a_share_of_the_rows_is_chosen_by_their_ids(tmp_path, iris, rows):
    done = run(tmp_path, iris, log_share=0.2)
    assert 100 < done.logged.records < 260
    (counted,) = open_log(str(tmp_path / "log")).query("iris", "SELECT count(*) n FROM log").to_pylist()
    assert counted["n"] == done.logged.records


def test_a_log_in_a_bucket_is_refused_before_the_first_row(tmp_path, iris, rows):
    with pytest.raises(UsageError, match="in folders of this machine"):
        run_batch(iris, [tmp_path / "rows.parquet"], tmp_path / "out", Options(log="s3://bucket/log"))
    assert not (tmp_path / "out").exists()


def test_tensors_without_columns_are_lists_as_a_server_logs_them(tmp_path):
    bundle = sum_bundle(tmp_path / "sum")
    draw = np.random.default_rng(0)
    inputs = {name: draw.normal(size=(50, 2)).astype(np.float32) for name in "ab"}
    table = pa.table({name: pa.array(list(values)) for name, values in inputs.items()})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    settings = Options(processes=1, log=str(tmp_path / "log"))
    run_batch(bundle, [tmp_path / "rows.parquet"], tmp_path / "out", settings, model="sum:3")
    server = asked(tmp_path, bundle, inputs, name="sum")
    both = [
        open_log(str(root)).query("sum", "SELECT inputs, outputs FROM log ORDER BY inputs.a[1]")
        for root in (tmp_path / "log", server.root)
    ]
    assert both[0].schema == both[1].schema
    assert both[0].to_pylist() == both[1].to_pylist()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Bundle:
    """Return a bundle with the profile of the data that it was fitted on."""
    values = np.random.default_rng(0).normal(5, 1, (4000, 4))
    frame = pandas.DataFrame(values, columns=list(COLUMNS))
    return lading.pack(
        LogisticRegression().fit(frame, values[:, 0] > 5),
        samples=frame[:50],
        reference=frame,
        name="iris",
        owner="tests@example.com",
        purpose="classification",
        to=tmp_path_factory.mktemp("fitted") / "iris.bundle",
    )


def watched(registry: Registry) -> object:
    """Return the status after the monitor has tested all that there is."""
    now = registry.fleet.now()
    driver = MonitorDriver(registry, "tests", clock=lambda: now + 600)
    driver.turn()
    return snapshot(registry, "iris", now - 3600, now + 600)


@pytest.mark.slow
def test_the_monitor_says_of_a_run_what_it_says_of_the_same_traffic(tmp_path, fitted):
    values = np.random.default_rng(1).normal(5, 1, (900, 4)).astype(np.float32)
    values[:, 2] += 1
    values[:30, 1] = 1000
    table = pa.table({name: values[:, at] for at, name in enumerate(COLUMNS)})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    with Registry.open(str(tmp_path / "batch")) as batch:
        pushed = batch.push(fitted)
        recorder = Recorder(batch.runs, host="here", monitoring=batch.monitoring)
        for _ in range(2):  # A run that is done again is counted once.
            settings = Options(processes=1)
            paths = [tmp_path / "rows.parquet"]
            model = f"iris:{pushed.version}"
            done = run_batch(fitted, paths, tmp_path / "out", settings, model=model, recorder=recorder)
        (window,) = batch.monitoring.windows("iris")
        of_batch = watched(batch)
        alarms = [(alarm.kind, alarm.subject) for alarm in batch.monitoring.alarms()]
    assert (window.rows, window.seen, window.checked, window.replica) == (900, 900, 900, "batch")
    assert {column for column, _, _ in window.failures} >= {"sepal_width"}
    assert [column.column for column in done.drift if column.drifted] == ["petal_length"]
    assert alarms == [("input-checks", "sepal_width: range")]
    live = ColumnWindows("replica", seed=0)
    version = served(fitted.manifest.signature, version=3)
    version.digest, version.model = fitted.digest, fitted
    runtime = load_runtime(fitted)
    inputs = {fitted.manifest.signature.inputs[0].name: values}
    outputs = runtime.run_whole(inputs)
    live.add(RowChunk(served=version, release=0, rows=900, inputs=inputs, outputs=outputs))
    runtime.close()
    live.rotate(NOON, last=True)
    (traffic,) = live.drain()
    assert (traffic.counts, traffic.rows, traffic.profile) == (window.counts, window.rows, window.profile)
    distances = {column.name: column.psi for column in of_batch.columns}
    drift = {column.column: column.psi for column in done.drift}
    assert {name: distances[name] for name in COLUMNS} == {name: drift[name] for name in COLUMNS}
    assert distances["petal_length"] > 0.5


@pytest.mark.slow
def test_a_run_whose_columns_have_plainly_shifted_raises_alarms_by_itself(tmp_path, fitted):
    with Registry.open(str(tmp_path / "registry")) as registry:
        model = f"iris:{registry.push(fitted).version}"
        recorder = Recorder(registry.runs, host="here", monitoring=registry.monitoring)
        seen = []
        for name, shift in (("usual", 0.0), ("other unit", 3.0), ("usual again", 0.0)):
            values = np.random.default_rng(len(name)).normal(5, 1, (2000, 4))
            values[:, 2] += shift
            path = tmp_path / f"{name}.parquet"
            pyarrow.parquet.write_table(pa.table(dict(zip(COLUMNS, values.T, strict=True))), path)
            settings = Options(processes=1)
            run_batch(fitted, [path], tmp_path / name, settings, model=model, recorder=recorder)
            watched(registry)
            alarms = registry.monitoring.alarms("iris", open_only=True)
            seen.append({alarm.subject: alarm.text for alarm in alarms if alarm.kind == "drift"})
    assert (seen[0], seen[2]) == ({}, {})
    assert seen[1]["petal_length"].startswith("`petal_length` higher by")
    assert seen[1]["petal_length"].endswith("in a batch run of 2,000 rows")


@pytest.mark.slow
def test_a_large_run_weighs_as_much_as_a_busy_server(tmp_path, fitted, monkeypatch):
    monkeypatch.setattr("lading.batch.traffic.MOST_COUNTED", 300)
    values = np.random.default_rng(1).normal(5, 1, (4000, 4))
    table = pa.table({name: values[:, at] for at, name in enumerate(COLUMNS)})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    with Registry.open(str(tmp_path / "registry")) as registry:
        recorder = Recorder(registry.runs, monitoring=registry.monitoring)
        settings = Options(processes=1)
        run_batch(
            fitted, [tmp_path / "rows.parquet"], tmp_path / "out", settings, model="iris:3", recorder=recorder
        )
        (window,) = registry.monitoring.windows("iris")
    assert (window.rows, window.seen) == (300, 4000)
    assert {sum(counts) for counts in window.counts} == {300}
