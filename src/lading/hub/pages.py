"""What each page says: a view for each, of the follower's knowledge and what a reader adds to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lading.errors import LadingError, UsageError
from lading.hub.answering import error_answer, json_answer
from lading.hub.knowledge import Knowledge
from lading.hub.prediction_log import PredictionLog
from lading.hub.reading import Answer, Reader
from lading.hub.spreadsheet import Cell, csv_text
from lading.hub.views import history, inventory, vulnerabilities
from lading.hub.views.act import Act, ActPage, Seen, act_page, possible_acts
from lading.hub.views.alarms import AlarmsState, alarms_page, read_alerts
from lading.hub.views.begin import BeginPage, begin_page
from lading.hub.views.home import home
from lading.hub.views.jobs import JobsState, job_page, jobs_page
from lading.hub.views.log import LogState, records_table
from lading.hub.views.models import COLUMNS, model_page, models
from lading.hub.views.monitoring import PERIODS, MonitoringState, monitoring_page, tables
from lading.hub.views.release import evidence_table, release_page
from lading.hub.views.runs import TABLES as RUN_TABLES
from lading.hub.views.runs import RunsState, report_table, run_page, runs_page, runs_table
from lading.hub.views.tables import TableState, one_of
from lading.hub.views.trying import TryState
from lading.hub.views.versions import version_page
from lading.monitor.status import ModelStatus
from lading.ref import check_name
from lading.registry import Registry
from lading.settings import log_url


class Pages:
    """The views of all pages over one registry. Each returns what its page says, and why not newer."""

    def __init__(
        self,
        registry: Registry,
        clock: Callable[[], float] = time.time,
        failure: Callable[[], str] = str,
        log: str = "",
    ) -> None:
        """`failure` returns why the catalog is known not to answer, or nothing; `log` is a prediction log."""
        self._reader = Reader(registry, clock, failure)
        self._log = PredictionLog(log or log_url(None, registry.where))

    def home(self, _request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the first page."""
        return home(knowledge), ""

    def models(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the table of models."""
        return models(knowledge, TableState.of(request.query_params, COLUMNS)), ""

    def model(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of one model."""
        name = check_name(request.path_params["name"])
        below = _number(request.query_params.get("below", ""), "`below`")
        answer = self._reader.model(name, below)
        return model_page(knowledge, name, *answer.value), answer.failure

    def release(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of the current release of a model."""
        name = check_name(request.path_params["name"])
        # Before the release: what a form carries of them is never newer than what its page displays.
        last = self._reader.steering(name)
        answer = self._reader.release(name, _followers(knowledge))
        return release_page(*answer.value, last.value[1]), answer.failure

    def release_evidence(self, request: Request, knowledge: Knowledge) -> tuple[Response, str]:
        """Make the evidence of the running step as CSV, every block of traffic on a line."""
        name = check_name(request.path_params["name"])
        answer = self._reader.release(name, _followers(knowledge))
        taken, paths = answer.value
        file = f"{name}-release-{taken.release.number}-evidence.csv"
        return _csv_file(file, *evidence_table(paths)), answer.failure

    def act(self, request: Request, _knowledge: Knowledge, act: Act) -> tuple[Any, str]:
        """Make the page that asks for the reason of an act."""
        query = request.query_params
        before = Seen.of(query) if "release" in query else None
        return self.act_now(check_name(request.path_params["name"]), act, before)

    def act_now(self, name: str, act: Act, before: Seen | None) -> tuple[ActPage, str]:
        """Make the page of an act on a release as it stands now; `before` is how a page has displayed it."""
        answer = self._reader.steering(name)
        release, events = answer.value
        target, refusal = None, ""
        if act == "rollback" and act in possible_acts(release):
            target, refusal = self._reader.rollback_target(release)
        text = "" if target is None else str(target)
        return act_page(act, release, events, before, text, refusal), answer.failure

    def begin(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page that releases a version."""
        query = request.query_params
        before = Seen.of(query) if "release" in query else None
        name = check_name(request.path_params["name"])
        return self.begin_now(name, request.path_params["version"], before)

    def begin_now(self, name: str, number: int, before: Seen | None) -> tuple[BeginPage, str]:
        """Make the page that releases a version, over the release as it stands now."""
        answer, last = self._reader.version(name, number), self._reader.last(name)
        record = answer.value
        release, events = last.value
        return begin_page(
            record.version, record.evidence, release, events, before
        ), answer.failure or last.failure

    def version(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of one version."""
        name = check_name(request.path_params["name"])
        answer = self._reader.version(name, request.path_params["version"])
        contents = self._reader.contents(answer.value.version)
        record, manifest = answer.value, contents.manifest
        if manifest is not None and manifest.lineage is not None and manifest.lineage.parent:
            parent = self._reader.parent(name, manifest.lineage.parent)
            record = msgspec.structs.replace(record, parent=parent)
        return version_page(knowledge, record, contents, TryState.of(request.query_params)), answer.failure

    def inventory(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the table of replicas."""
        state = TableState.of(request.query_params, inventory.COLUMNS, inventory.FILTERS)
        return inventory.inventory(knowledge, state), ""

    def vulnerabilities(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of what scans know against what runs."""
        state = TableState.of(request.query_params, vulnerabilities.COLUMNS, vulnerabilities.FILTERS)
        return vulnerabilities.vulnerabilities(knowledge, state), ""

    def replica(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of one replica."""
        return inventory.replica_page(knowledge, request.path_params["id"]), ""

    def history(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the history of all models, or of the one in the parameters, unchecked."""
        state = history.HistoryState.of(request.query_params)
        page = self._reader.events(state)
        return history.history_page("", state, page.value, None), page.failure

    def model_history(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the history of one model, checked as a whole."""
        name = check_name(request.path_params["name"])
        state = history.HistoryState.of({**request.query_params, "model": name})
        check = self._reader.check(name)
        page = self._reader.events(state)
        return history.history_page(name, state, page.value, check.value), check.failure or page.failure

    async def export_history(self, request: Request, form: str) -> Response:
        """Answer with all events of a model as a file."""
        name = request.path_params["name"]
        try:
            events = await run_in_threadpool(self._reader.chain, check_name(name))
        except LadingError as error:
            return error_answer(error)
        if form == "csv":
            response = Response(history.events_csv(events), media_type="text/csv")
        else:  # What `lading history --json` prints.
            response = json_answer({"name": name, "events": events}, 200)
        # A name has no character that would end the quotes.
        response.headers["content-disposition"] = f'attachment; filename="history-{name}.{form}"'
        return response

    def monitoring(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page about the live traffic of a model."""
        state = MonitoringState.of_query(request.query_params)
        answer = self._status(request, knowledge, state)
        return monitoring_page(answer.value, state), answer.failure

    def log_index(self, _request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the list of models that the prediction log has records of."""
        return self._log.index(), ""

    def log(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make a page of logged predictions of a model."""
        name = check_name(request.path_params["name"])
        return self._log.page(name, LogState.of(request.query_params)), ""

    def log_file(self, request: Request, _knowledge: Knowledge, form: str) -> tuple[Response, str]:
        """Make the records that a page of the log is about as a file."""
        name = check_name(request.path_params["name"])
        result = self._log.search(name, LogState.of(request.query_params), as_file=True)
        if form == "csv":
            response = Response(csv_text(*records_table(result)), media_type="text/csv")
        else:
            response = json_answer(result, 200)
        response.headers["content-disposition"] = f'attachment; filename="log-{name}.{form}"'
        # A table has no place to say that it is not all.
        response.headers["x-lading-complete"] = "no" if result.older is not None else "yes"
        return response, ""

    def alarms(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of alarms and alerts."""
        state = AlarmsState.of(request.query_params)
        answer = self._reader.alarms(state.asked())
        alarms, alerts = answer.value
        return alarms_page(state, alarms, read_alerts(alerts), len(knowledge.alarms)), answer.failure

    def runs(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the table of runs over data sets."""
        state = RunsState.of(request.query_params)
        answer = self._reader.runs(state.asked())
        return runs_page(state, answer.value), answer.failure

    def runs_table(self, request: Request, knowledge: Knowledge) -> tuple[Response, str]:
        """Make a page of the table of runs as CSV."""
        page, failure = self.runs(request, knowledge)
        return _csv_file("runs.csv", *runs_table(page)), failure

    def run(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of one run."""
        answer = self._reader.run(request.path_params["id"])
        return run_page(answer.value), answer.failure

    def run_table(self, request: Request, knowledge: Knowledge) -> tuple[Response, str]:
        """Make one of the tables of a run as CSV."""
        name = one_of("`table`", request.query_params.get("table", RUN_TABLES[0]), RUN_TABLES)
        page, failure = self.run(request, knowledge)
        return _csv_file(f"run-{quote(page.run.id)}-{name}.csv", *report_table(page, name)), failure

    def jobs(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the table of inference jobs."""
        state = JobsState.of(request.query_params)
        answer = self._reader.jobs(*state.asked())
        return jobs_page(state, *answer.value), answer.failure

    def job(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of one job."""
        answer = self._reader.job(request.path_params["id"])
        return job_page(answer.value), answer.failure

    def monitoring_table(self, request: Request, knowledge: Knowledge) -> tuple[Response, str]:
        """Make a table behind the charts of a model, as CSV."""
        name = request.query_params.get("table", "columns")
        status = self._status(request, knowledge, MonitoringState.of_query(request.query_params))
        known = tables(status.value)
        one_of("`table`", name, tuple(known))
        return _csv_file(f"{status.value.name}-{name}.csv", *known[name]), status.failure

    def _status(self, request: Request, knowledge: Knowledge, state: MonitoringState) -> Answer[ModelStatus]:
        name = check_name(request.path_params["name"])
        newest = knowledge.newest.get(name)
        return self._reader.monitoring(name, PERIODS[state.since], newest.owner if newest is not None else "")


def _csv_file(name: str, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Response:
    """Return a table as an answer that browsers keep as a file; no character of its `name` ends quotes."""
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(csv_text(header, rows), media_type="text/csv", headers=headers)


def _followers(knowledge: Knowledge) -> int:
    """Return how many servers follow releases: one that is not lading's does not."""
    return sum(not each.gone and each.pattern != "foreign" for each in knowledge.replicas)


def _number(text: str, where: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(where, expected="a number", found=f"`{text[:80]}`")
    return int(text)
