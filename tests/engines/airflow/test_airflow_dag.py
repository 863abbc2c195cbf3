"""The DAG of the examples, executed by Airflow over a real database; where it needs one, by its scheduler."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from lading.batch.checking import check_output
from lading.ref import Ref
from lading.registry import Registry
from lading.release import EventDraft
from lading.runtime.host.fingerprint import fingerprint
from support.guides import GUIDES, follow
from support.ports import free_port
from support.postgres import PostgresServer
from support.recorded_evidence import record_evidence
from support.waiting import wait_until

EXAMPLE = Path(__file__).parents[3] / "examples" / "airflow_dag.py"
ORDER = ("verify", "batch", "monitor", "release", "live")

# Several runs in one process: the start of Airflow takes longer than a run.
RUNS = """
import json, os, sys
from datetime import UTC, datetime
from pathlib import Path
import airflow_dag
seen = {}
for run, (day, conf) in json.loads(sys.argv[1]).items():
    done = airflow_dag.dag.test(logical_date=datetime.fromisoformat(day).replace(tzinfo=UTC), run_conf=conf)
    tasks = {each.task_id: [str(each.state), each.try_number] for each in done.get_task_instances()}
    manifest = Path(os.environ["IRIS_DATA"], "scored", day, "manifest.json")
    seen[run] = {"tasks": tasks, "written_at": manifest.stat().st_mtime_ns}
Path(sys.argv[2]).write_text(json.dumps(seen))
"""


def install(dags: str, **changes: str) -> None:
    """Write the example to the folder of DAGs, waiting seconds instead of minutes."""
    text = EXAMPLE.read_text()
    for old, new in {"timedelta(minutes=5)": "timedelta(seconds=1)", **changes}.items():
        assert old in text
        text = text.replace(old, new)
    (Path(dags) / "airflow_dag.py").write_text(text)


def run_dags(airflow: dict[str, str], tmp_path: Path, runs: dict[str, tuple[str, dict[str, str]]]) -> tuple:
    """Run the DAG for days; return how each run ended, and the log."""
    dags, out = airflow["AIRFLOW__CORE__DAGS_FOLDER"], tmp_path / "seen.json"
    command = [sys.executable, "-c", RUNS, json.dumps(runs), str(out)]
    environ = airflow | {"PYTHONPATH": os.pathsep.join([dags, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=560)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    return json.loads(out.read_text()), log


@pytest.mark.timeout(600)
def test_a_day_is_scored_and_judged_and_the_version_goes_live_once(airflow, tmp_path, rows, registry):
    install(airflow["AIRFLOW__CORE__DAGS_FOLDER"])
    rows("2026-11-29.parquet")
    rows("2026-11-30.parquet", low=50.0, high=60.0)
    new, old = {"model": "iris:2"}, {"model": "iris:1"}
    # A day, the same once more, and one whose rows are others, which would bring the old version back.
    days = {"first": ("2026-11-29", new), "again": ("2026-11-29", new), "drifted": ("2026-11-30", old)}
    seen, log = run_dags(airflow, tmp_path, days)
    done = {task: ["success", 1] for task in ORDER}
    assert (seen["first"]["tasks"], seen["again"]) == (done, seen["first"])
    # What lading refuses is not tried again, though the tasks have three retries.
    assert seen["drifted"]["tasks"] == done | {
        "monitor": ["failed", 1],
        "release": ["upstream_failed", 0],
        "live": ["upstream_failed", 0],
    }
    assert "expected the distribution of the training data, found another, PSI" in log
    assert check_output(tmp_path / "scored" / "2026-11-29").manifest.scored == 1000
    with Registry.open(registry) as opened:
        events = opened.releases.events("iris")
    assert [(event.to, event.actor) for event in events] == [("1", "ada"), ("2", "airflow")]
    assert events[1].reason.startswith("DAG iris_daily, run ")


class Scheduled:
    """An Airflow with its scheduler, workers, triggerer and API, as a user starts it."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ
        self._url = environ["TEST_DATABASE"]

    def trigger(self, day: str, **conf: str) -> None:
        command = ["dags", "trigger", "iris_daily", "--logical-date", day, "--conf", json.dumps(conf)]
        airflow = [sys.executable, "-m", "airflow", *command]
        done = subprocess.run(airflow, env=self._environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def ask(self, query: str) -> list[tuple]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def is_known(self) -> bool:
        return bool(self.ask("select 1 from serialized_dag where dag_id = 'iris_daily'"))

    def tasks(self) -> dict[str, tuple[str | None, int]]:
        rows = self.ask("select task_id, state, try_number from task_instance")
        return {task: (state, tries) for task, state, tries in rows}

    def worker_of(self, task: str) -> int | None:
        """Return the process that executes a task, if there is one."""
        pids = self.ask(f"select pid from task_instance where task_id = '{task}' and state = 'running'")
        return pids[0][0] if pids else None


@contextmanager
def scheduled(airflow: dict[str, str], tmp_path: Path) -> Iterator[Scheduled]:
    port = free_port()
    environ = airflow | {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "of these tests alone, and as long as SHA-512 wants it: 64 bytes",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    }
    commands = (
        ["api-server", "--host", "127.0.0.1", "--port", str(port)],
        ["dag-processor"],
        ["scheduler", "--skip-serve-logs"],
        ["triggerer", "--skip-serve-logs"],
    )
    with ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((tmp_path / f"{command[0]}.log").open("w"))
            airflow_command = [sys.executable, "-m", "airflow", *command]
            process = subprocess.Popen(
                airflow_command, env=environ, stdout=log, stderr=log, start_new_session=True
            )
            stack.callback(stop, process)
        yield Scheduled(environ)


def stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def elsewhere(registry, tmp_path, monkeypatch) -> Iterator[PostgresServer]:
    """Return a PostgreSQL of its own, stopped, that has a registry with the versions of the test's."""
    monkeypatch.setenv("LADING_STORE", str(tmp_path / "registry" / "blobs"))
    # Not below pytest's folders, into which only their owner may go.
    folder = Path(tempfile.mkdtemp(prefix="lading-postgres-"))
    try:
        server = PostgresServer(folder)
        server.start()
        with Registry.open(registry) as source, Registry.open(server.url()) as opened:
            for version in (1, 2):
                opened.push(source.fetch(Ref("iris", version=version)))
                record_evidence(opened, f"iris:{version}", fingerprint())
            opened.releases.begin("iris", 1, actor="ada")
        server.stop()
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_outage_is_tried_again_and_a_task_that_is_killed_goes_on(airflow, tmp_path, rows, elsewhere):
    folder = "2026-11-29"
    for number in range(400):
        rows(f"{folder}/{number:03}.parquet", rows=200 + number)
    install(
        airflow["AIRFLOW__CORE__DAGS_FOLDER"],
        **{
            'schedule=CronDataIntervalTimetable("@daily", timezone="UTC")': "schedule=None",
            'rows/{{{{ ds }}}}.parquet"': 'rows/{{{{ ds }}}}", processes=1',
            '"release", model="{{ params.model }}"': '"release", model="{{ params.model }}", canary="50,100"',
            "timeout=timedelta(hours=12)": "deferrable=True, poke_interval=1",
        },
    )
    store = {"LADING_STORE": os.environ["LADING_STORE"]}
    with scheduled(airflow | store | {"LADING_REGISTRY": elsewhere.url()}, tmp_path) as running:
        see = running.tasks
        wait_until(running.is_known, 240, lambda: (tmp_path / "dag-processor.log").read_text()[-2000:])
        running.trigger(folder, model="iris:2")
        wait_until(lambda: see().get("verify") == ("up_for_retry", 1), 240, see)
        elsewhere.start()
        done = tmp_path / "scored" / folder / ".lading" / "done"
        wait_until(lambda: done.is_dir() and len(list(done.glob("*.json"))) >= 5, 240, see)
        assert see()["verify"] == ("success", 2)
        os.kill(wait_until(lambda: running.worker_of("batch"), 60, see), signal.SIGKILL)
        kept = len(list(done.glob("*.json")))
        assert kept < 400
        wait_until(lambda: see().get("live", ("",))[0] == "deferred", 240, see)
        assert see()["batch"] == ("success", 2)
        (report,) = running.ask("select value::text from xcom where task_id = 'batch'")[0]
        with Registry.open(elsewhere.url()) as opened:
            release = opened.releases.current("iris")
            assert release.plan.steps == (50, 100)
            promoted = EventDraft(kind="promoted", actor="rollout")
            opened.releases.change(release, event=promoted, state="live")
        wait_until(lambda: see()["live"] == ("success", 1), 240, see)
    report = json.loads(report)
    assert 5 <= report["resumed"] <= 400
    assert report["rows"] == sum(200 + number for number in range(400))
    assert check_output(tmp_path / "scored" / folder).manifest.rows == report["rows"]


def tasks_of(database: Path) -> dict[str, dict[str, str | None]]:
    """Return the states of tasks by run, as SQLite has them; nothing before there are any."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
            rows = opened.execute("select run_id, task_id, state from task_instance").fetchall()
    except sqlite3.OperationalError:  # No file, no table, or one that is being written.
        return {}
    return {run: {task: state for of, task, state in rows if of == run} for run, _, _ in rows}


@pytest.mark.slow
@pytest.mark.wide
@pytest.mark.timeout(400)
def test_standalone_scores_yesterday_by_its_schedule_and_releases_the_version(tmp_path, rows, registry):
    today = datetime.now(UTC).date()
    # Both, should midnight come before the scheduler.
    for day in (today - timedelta(days=1), today):
        rows(f"{day}.parquet")
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    install(str(home / "dags"), **{'"iris:1"': '"iris:2"'})
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "IRIS_DATA": str(tmp_path),
    }
    # It listens on all addresses, whatever its settings: here on those of a loopback that nobody else has.
    alone = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    script = "ip link set lo up && exec airflow standalone"
    log = tmp_path / "standalone.log"
    with log.open("w") as output:
        process = subprocess.Popen([*alone, "sh", "-c", script], env=environ, stdout=output, stderr=output)
    try:
        (states,) = wait_until(
            lambda: [
                states
                for states in tasks_of(home / "airflow.db").values()
                if states.get("live") == "success" or {"failed", "upstream_failed"} & {*states.values()}
            ],
            300,
            lambda: (tasks_of(home / "airflow.db"), log.read_text()[-3000:]),
        )
    finally:
        process.kill()
        process.wait()
    assert states == dict.fromkeys(ORDER, "success")
    (scored,) = (tmp_path / "scored").iterdir()
    assert scored.name in {str(today - timedelta(days=1)), str(today)}
    assert check_output(scored).manifest.scored == 1000
    with Registry.open(registry) as opened:
        assert [(event.to, event.actor) for event in opened.releases.events("iris")][1:] == [("2", "airflow")]


@pytest.mark.slow
def test_the_guide_runs_as_it_stands(tmp_path):
    commands, folder = tmp_path / "commands", tmp_path / "empty"
    for made in (commands, folder):
        made.mkdir()
    for name, call in (("lading", "-m lading "), ("airflow", "-m airflow "), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {call}"$@"\n')
        (commands / name).chmod(0o755)
    shutil.copy(EXAMPLE, folder)
    guide = GUIDES / "airflow.md"
    # The blocks before are parts of a DAG.
    text = "\n".join(["set -eu", *typed(guide.read_text().partition("## Try it")[2])])
    output = follow(text, folder, free_port(), commands=commands)
    assert "`iris:1` is live" in output
    assert output.count("DAG iris_daily, run manual__") == 1
    assert (folder / "scored" / "2026-11-30" / "manifest.json").is_file()


def typed(text: str) -> Iterator[str]:
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield block if language == "bash" else f"python - <<'PYTHON'\n{block}PYTHON"
