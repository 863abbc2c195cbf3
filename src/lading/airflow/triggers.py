"""The end of a release, waited for in Airflow's triggerer: thousands of them take no slot of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from lading.airflow.command import command_words
from lading.airflow.tasks import environment
from lading.airflow.watched import WatchedRelease


class ReleaseTrigger(BaseTrigger):  # type: ignore[misc]
    """Fire once a release has ended, with its report, or with a sentence if it cannot be asked for."""

    def __init__(
        self,
        *,
        name: str,
        number: int | None,
        interval_s: float,
        registry: str | None,
        env: Mapping[str, str],
        lading_command: str | Sequence[str] | None,
    ) -> None:
        super().__init__()
        self._stored = {
            "name": name,
            "number": number,
            "interval_s": interval_s,
            "registry": registry,
            "env": dict(env),
            "lading_command": lading_command,
        }
        self._interval_s = interval_s
        command = command_words(lading_command)
        self._watched = WatchedRelease(name, number, command, environment(registry, env))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same trigger in another process; Airflow encrypts it in its database."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self._stored

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look every `interval_s` seconds until the release has ended."""
        while True:
            # The command takes a second, in which other triggers go on.
            try:
                report = await asyncio.to_thread(self._watched.look, self.log)
            except AirflowFailException as error:
                yield TriggerEvent({"error": str(error)})
                return
            if report is not None:
                yield TriggerEvent({"release": report})
                return
            await asyncio.sleep(self._interval_s)
