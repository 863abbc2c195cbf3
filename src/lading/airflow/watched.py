"""A release that somebody waits for: whether it has ended, and whether as it should."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow.sdk.exceptions import AirflowFailException

from lading.airflow.command import LadingProcess
from lading.airflow.reports import Report, release_report
from lading.release import OPEN_STATES


@dataclass(frozen=True)
class WatchedRelease:
    """Release `number` of the model `name`, the current one without a number, and how to ask for it."""

    name: str
    number: int | None
    command: Sequence[str]
    environ: Mapping[str, str]

    def look(self, log: logging.Logger) -> Report | None:
        """Return the release if it has ended, and None while it has not or cannot be asked for.

        Raises `AirflowFailException` if asking again would not help.
        """
        which = [] if self.number is None else [f"--release={self.number}"]
        words = ["rollout", "status", self.name, *which, "--json"]
        ended = LadingProcess(self.command, words, self.environ).run(log.info)
        if not ended.is_done:
            if not ended.may_pass:
                raise AirflowFailException(ended.sentence)
            # The release goes on without us, and what waits for it asks again.
            log.warning("release of `%s` not known now: %s", self.name, ended.sentence)
            return None
        report = release_report(ended.document)
        if report["state"] not in OPEN_STATES:
            return report
        share, candidate = report["weight_percent"], f"{self.name}:{report['candidate']}"
        log.info("release %s: `%s` gets %g %% of requests", report["number"], candidate, share)
        return None


def conclude(report: Report) -> Report:
    """Return a release that ended with its version live. Raises `AirflowFailException` for any other one."""
    if report["state"] == "live":
        return report
    reason = f": {report['reason']}" if report["reason"] else ""
    where = f"release {report['number']} of `{report['name']}`"
    raise AirflowFailException(f"{where}: expected it to go live, found it {_ends(report['state'])}{reason}")


def _ends(state: str) -> str:
    return state.replace("_", " ")
