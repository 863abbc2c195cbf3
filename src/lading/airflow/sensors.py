"""Waiting for a release to end: in a slot that is free in between, or in the triggerer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowFailException

from lading.airflow.command import command_words
from lading.airflow.reports import Report
from lading.airflow.tasks import TEMPLATED, environment
from lading.airflow.triggers import ReleaseTrigger
from lading.airflow.watched import WatchedRelease, conclude


class ReleaseSensor(BaseSensorOperator):  # type: ignore[misc]
    """Wait until a release has ended: done if its version went live, failed if it did not.

    `release` is what a `ReleaseOperator` returned, as in ``release=begin.output``; or `model` names a model,
    whose current release is meant. A task that waits takes no slot between two looks, which are
    `poke_interval` seconds apart, and with `deferrable` no slot at all: the triggerer looks for it. A
    registry that does not answer is asked again, until `timeout`.
    """

    template_fields: Sequence[str] = (*TEMPLATED, "release", "model")
    ui_color = "#dcf0e4"

    def __init__(
        self,
        *,
        release: Any = None,
        model: str | None = None,
        deferrable: bool = False,
        mode: str = "reschedule",
        registry: str | None = None,
        env: Mapping[str, str] | None = None,
        lading_command: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        if (release is None) == (model is None):
            raise ValueError("`ReleaseSensor`: expected either `release` or `model`")
        self.release = release
        self.model = model
        self.deferrable = deferrable
        self.registry, self.env, self.lading_command = registry, env, lading_command

    def execute(self, context: Any) -> Any:
        """Wait, here or in the triggerer; return the release as it ended."""
        if not self.deferrable:
            return super().execute(context)
        # Without a look here first: one that has ended costs the triggerer no more than a worker.
        return self._wait_in_triggerer()

    def _wait_in_triggerer(self) -> Any:
        """Leave the worker until the triggerer has seen the end."""
        name, number = self._meant()
        trigger = ReleaseTrigger(
            name=name,
            number=number,
            interval_s=self.poke_interval,
            registry=self.registry,
            env=dict(self.env or {}),
            lading_command=self.lading_command,
        )
        limit = timedelta(seconds=self.timeout)
        return self.defer(trigger=trigger, method_name="conclude_event", timeout=limit)

    def conclude_event(self, context: Any, event: Mapping[str, Any]) -> Report:  # noqa: ARG002 - as above
        """Return the release that the triggerer has seen the end of. Raises `AirflowFailException`."""
        if "error" in event:
            raise AirflowFailException(event["error"])
        return conclude(event["release"])

    def poke(self, context: Any) -> PokeReturnValue:  # noqa: ARG002 - Airflow passes it
        """Look once. Raises `AirflowFailException` for a release that ended otherwise than live."""
        name, number = self._meant()
        command, environ = command_words(self.lading_command), environment(self.registry, self.env)
        report = WatchedRelease(name, number, command, environ).look(self.log)
        if report is None:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=conclude(report))

    def _meant(self) -> tuple[str, int | None]:
        if self.release is not None:
            return str(self.release["name"]), int(self.release["number"])
        return str(self.model).partition(":")[0], None
