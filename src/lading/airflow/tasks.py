"""What operators and sensors have in common: which lading they run, its registry, and how they fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

import lading
from lading.airflow.command import Ended, LadingProcess, command_words
from lading.airflow.reports import Report
from lading.settings import actor

TEMPLATED = ("registry", "env", "lading_command")
"""The fields that every task has, which may be templates."""


class LadingTask:
    """A task that runs `lading` commands. Mixed into Airflow's classes, before them.

    ``registry`` goes into the environment of the command, where a password in its URL is not listed with the
    processes of the machine. ``env`` are further variables beside those of the worker. ``lading_command``
    runs the lading of another environment, such as ``/opt/lading/bin/lading`` or ``uv run lading``.
    """

    registry: str | None
    env: Mapping[str, str] | None
    lading_command: str | Sequence[str] | None
    log: logging.Logger  # Airflow's, of the task
    _process: LadingProcess | None = None

    def ask(self, read: Callable[[Any], Report], *arguments: object) -> Report:
        """Run a command and return the report that `read` makes of what it prints with ``--json``.

        Raises `AirflowFailException` with lading's sentence where another try would end the same, and else
        `AirflowException`, upon which Airflow tries again as often as the task has retries.
        """
        words = [*(str(argument) for argument in arguments), "--json"]
        command, environ = command_words(self.lading_command), environment(self.registry, self.env)
        self._process = LadingProcess(command, words, environ)
        ended = self._process.run(self.log.info)
        if not ended.is_done:
            raise failure(ended)
        try:
            return read(ended.document)
        except (KeyError, TypeError, ValueError) as error:
            # Another environment may have another version, which prints something else.
            sentence = f"`lading {words[0]}`: expected the JSON of lading {lading.__version__}"
            hint = f"hint: is the lading of `lading_command` ({command[0]}) another version?"
            raise AirflowFailException(f"{sentence}, found another, {error!r}\n{hint}") from error

    def on_kill(self) -> None:
        """End the command, when Airflow ends the task."""
        if self._process is not None:
            self._process.end()


def environment(registry: str | None, env: Mapping[str, str] | None) -> dict[str, str]:
    """Return the variables of a command beside those of the worker."""
    variables = dict(env or {})
    # Who has begun a run or a release: the user of the workers is nobody whom people know.
    if actor() is None:
        variables.setdefault("LADING_ACTOR", "airflow")
    if registry:
        variables["LADING_REGISTRY"] = str(registry)
    return variables


def failure(ended: Ended) -> Exception:
    """Return the exception for a command that failed: one that Airflow tries again, or one that ends it."""
    kind = AirflowException if ended.may_pass else AirflowFailException
    return kind(ended.sentence)  # type: ignore[no-any-return]


def flags(**options: object) -> list[str]:
    """Return options of a command line, without those that are None or false; a list is repeated.

    ``max_rejected="1%"`` becomes ``--max-rejected=1%``, ``shadow=True`` becomes ``--shadow``.
    """
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, list | tuple):
            words += [f"{flag}={each}" for each in value]
        elif value is not None and value is not False and value != "":
            words.append(f"{flag}={value}")
    return words
