"""Reads the prediction log for pages: one search at a time, in bounded time and memory."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from lading.errors import ExtraMissing, ModelNotFound, NotFound, RegistryUnavailable, missing_extra
from lading.hub.views.log import LogIndex, LogPage, LogState, log_page

if TYPE_CHECKING:
    from lading.monitor.log.reader import LogReader
    from lading.monitor.log.search import Limits, Result

_PATIENCE_S = 10.0
MOST_DOWNLOADED = 2000
"""How many records a file has at most."""


class PredictionLog:
    """The log at ``where``, a folder or ``s3://…``; it need not exist."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.searching = threading.Lock()

    def index(self) -> LogIndex:
        """Return the models that it has records of, or why there is none."""
        # A log need not exist, and each reason that it does not has its own remedy.
        try:
            models = self._open().models()
        except ExtraMissing:
            return LogIndex(where=self.where, empty="extra", models=[])
        except NotFound:
            return LogIndex(where=self.where, empty="log", models=[])
        return LogIndex(where=self.where, empty="" if models else "log", models=models)

    def page(self, model: str, state: LogState) -> LogPage:
        """Return a page of records. Raises `UsageError` for what cannot be looked for."""
        try:
            return log_page(model, self.where, state, self.search(model, state))
        except ExtraMissing:
            return LogPage(model=model, where=self.where, state=state, empty="extra")
        except ModelNotFound:
            return LogPage(
                model=model, where=self.where, state=state, empty="model", models=self._open().models()
            )
        except NotFound:
            return LogPage(model=model, where=self.where, state=state, empty="log")

    def search(self, model: str, state: LogState, *, as_file: bool = False) -> Result:
        """Search the records of a model, for a page or for a file.

        Raises `ExtraMissing`, `NotFound` without a log, `ModelNotFound`, `UsageError`, and
        `RegistryUnavailable` while others search.
        """
        reader = self._open()
        from lading.monitor.log.search import Position, Sought, search

        place = state.place()
        sought = Sought(
            **state.parameters(time.time()), before=Position(*place) if place is not None else None
        )
        # Each may take half a gigabyte: two at once would be more than a small host has to spare.
        if not self.searching.acquire(timeout=_PATIENCE_S):
            where = f"prediction log `{self.where}`"
            others = "others that search it"
            raise RegistryUnavailable(where, expected="one search at a time", found=others, hint="try again")
        try:
            return search(reader, model, sought, limits_of(as_file=as_file))
        finally:
            self.searching.release()

    def _open(self) -> LogReader:
        try:
            from lading.monitor.log.reader import open_log
        except ModuleNotFoundError as error:
            if (error.name or "lading").startswith("lading"):
                raise
            raise missing_extra("the page of the log", "monitor", error) from None
        return open_log(self.where, modest=True)


def limits_of(*, as_file: bool) -> Limits:
    """Return how much a search returns, and how long it may take, for a page or for a file."""
    from lading.monitor.log.search import Limits

    if as_file:
        return Limits(rows=MOST_DOWNLOADED, seconds=20.0, fields=200, text=2000, values=100)
    return Limits()
