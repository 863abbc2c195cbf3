"""The tasks of a DAG: a bundle is verified, a data set scored, what was scored judged, a version released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from lading.airflow.findings import findings_in_batch, findings_in_traffic
from lading.airflow.reports import Report, batch_report, monitor_report, release_report, verify_report
from lading.airflow.tasks import TEMPLATED, LadingTask, flags

_LILAC, _SAND, _ROSE, _MINT = "#e4dcf2", "#f3ead6", "#f2dcdf", "#dcf0e4"


class LadingOperator(LadingTask, BaseOperator):  # type: ignore[misc]
    """What the operators share; see `LadingTask` for its parameters."""

    template_fields: Sequence[str] = TEMPLATED

    def __init__(
        self,
        *,
        registry: str | None = None,
        env: Mapping[str, str] | None = None,
        lading_command: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.registry, self.env, self.lading_command = registry, env, lading_command


class VerifyOperator(LadingOperator):
    """Run every check of a bundle on the worker, and record the evidence of a version in the registry.

    `model` is a reference or a bundle's folder. Fails, and is not tried again, if a check fails.
    """

    template_fields = (*TEMPLATED, "model", "gates", "wheels")
    ui_color = _LILAC

    def __init__(
        self,
        *,
        model: str,
        gates: str | Path | None = None,
        timeout_s: float | None = None,
        allow: str | None = None,
        wheels: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.gates = gates
        self.timeout_s = timeout_s
        self.allow = allow
        self.wheels = wheels

    def execute(self, context: Any) -> Report:  # noqa: ARG002 - Airflow passes it
        """Return whether the bundle holds, on which runtime, and the outcome of each check."""
        options = flags(gates=self.gates, timeout_s=self.timeout_s, allow=self.allow, wheels=self.wheels)
        return self.ask(verify_report, "verify", self.model, *options)


class BatchOperator(LadingOperator):
    """Score all rows of `inputs` into `output_folder`: each once, or set aside with its reason.

    The same task may run any number of times: it goes on where a run was killed, and changes nothing where
    one has ended. Fails, and is not tried again, if files do not fit, have changed since, or hold more rows
    that do not fit than `max_rejected`, and with `refuse_drift` if a column has drifted.
    """

    template_fields = (*TEMPLATED, "model", "inputs", "output_folder", "keep", "max_rejected")
    ui_color = _SAND

    def __init__(  # noqa: PLR0913 - one keyword for each option of the command
        self,
        *,
        model: str,
        inputs: str | Path | Sequence[str | Path],
        output_folder: str | Path,
        keep: Sequence[str] = (),
        engine: str | None = None,
        processes: int | None = None,
        max_rejected: str | float | None = None,
        refuse_drift: bool = False,
        allow: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.inputs = inputs
        self.output_folder = output_folder
        self.keep = keep
        self.engine = engine
        self.processes = processes
        self.max_rejected = max_rejected
        self.refuse_drift = refuse_drift
        self.allow = allow

    def execute(self, context: Any) -> Report:  # noqa: ARG002 - Airflow passes it
        """Return rows, rows set aside, drift, and the digests of what was read and written."""
        inputs = [self.inputs] if isinstance(self.inputs, str | Path) else list(self.inputs)
        options = flags(
            input=inputs,
            output=self.output_folder,
            keep=list(self.keep),
            engine=self.engine,
            processes=self.processes,
            max_rejected=self.max_rejected,
            refuse_drift=self.refuse_drift,
            allow=self.allow,
        )
        read = partial(batch_report, folder=str(self.output_folder))
        return self.ask(read, "batch", "run", self.model, *options)


class MonitorOperator(LadingOperator):
    """Judge what was scored, what live traffic shows of a model, or both; fail if something is wrong.

    `batch` is the report of a `BatchOperator`, as in ``batch=score.output``: a column that has drifted fails,
    but for those in `may_drift`, and so do more rows set aside than the share `max_rejected`. With `model`
    the monitor is asked for live traffic since `since`: an open alarm fails. What is not known is logged,
    and fails with `refuse_unknown`. Nothing that fails here is tried again.
    """

    template_fields = (*TEMPLATED, "batch", "model", "since", "may_drift")
    ui_color = _ROSE

    def __init__(
        self,
        *,
        batch: Any = None,
        model: str | None = None,
        since: str = "1d",
        max_rejected: float | None = None,
        may_drift: Sequence[str] = (),
        refuse_unknown: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if batch is None and model is None:
            raise ValueError("`MonitorOperator`: expected `batch`, `model` or both, found neither")
        self.batch = batch
        self.model = model
        self.since = since
        self.max_rejected = max_rejected
        self.may_drift = may_drift
        self.refuse_unknown = refuse_unknown

    def execute(self, context: Any) -> Report:  # noqa: ARG002 - Airflow passes it
        """Return what was judged. Raises `AirflowFailException` with what is wrong, the worst first."""
        wrong: list[str] = []
        unknown: list[str] = []
        report: Report = {}
        if self.batch is not None:
            scored = findings_in_batch(self.batch, max_rejected=self.max_rejected, may_drift=self.may_drift)
            wrong += scored.wrong
            unknown += scored.unknown
            report["batch"] = {key: self.batch[key] for key in ("folder", "rows", "rejected", "drifted")}
        if self.model is not None:
            options = flags(since=self.since)
            traffic = self.ask(monitor_report, "monitor", "status", self.model, *options)
            live = findings_in_traffic(traffic)
            wrong += live.wrong
            unknown += live.unknown
            report["traffic"] = traffic
        for sentence in unknown:
            self.log.warning("not known: %s", sentence)
        if self.refuse_unknown:
            wrong += [f"not known: {sentence}" for sentence in unknown]
        if wrong:
            raise AirflowFailException("\n".join(wrong))
        return report


class ReleaseOperator(LadingOperator):
    """Release a version: live at once, or as a canary, a shadow or an A/B release.

    Returns as soon as it has begun; `ReleaseSensor` waits for its end. The same task once more changes
    nothing while that release is on its way or live. Fails, and is not tried again, if the version is not
    proved, misses its gates, or has another signature than the live one.
    """

    template_fields = (*TEMPLATED, "model", "canary", "gates", "actor", "reason")
    ui_color = _MINT

    def __init__(  # noqa: PLR0913 - one keyword for each option of the command
        self,
        *,
        model: str,
        canary: str | bool = False,
        shadow: bool = False,
        ab: int | bool = False,
        hold: str | None = None,
        min_requests: int | None = None,
        no_traffic_timeout: str | None = None,
        gates: str | Path | None = None,
        rules: Sequence[str] = (),
        force: bool = False,
        actor: str | None = None,
        reason: str = "DAG {{ dag.dag_id }}, run {{ run_id }}",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.canary = canary
        self.shadow = shadow
        self.ab = ab
        self.hold = hold
        self.min_requests = min_requests
        self.no_traffic_timeout = no_traffic_timeout
        self.gates = gates
        self.rules = rules
        self.force = force
        self.actor = actor
        self.reason = reason

    def execute(self, context: Any) -> Report:  # noqa: ARG002 - Airflow passes it
        """Return the release: its model, number and state, and the digest of its bundle."""
        options = flags(
            canary=self.canary,
            shadow=self.shadow,
            ab=self.ab,
            hold=self.hold,
            min_requests=self.min_requests,
            no_traffic_timeout=self.no_traffic_timeout,
            gates=self.gates,
            rule=list(self.rules),
            force=self.force,
            actor=self.actor,
            reason=self.reason,
        )
        return self.ask(release_report, "release", self.model, *options)
