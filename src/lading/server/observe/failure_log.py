"""Steps of a thread that must not end: an unexpected error is logged once, and the next turn tries again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lading.errors import RegistryUnavailable

log = logging.getLogger("lading.server")


class FailureLog:
    """Logs what fails unexpectedly in the steps of one thread, once while a step fails in the same way."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    @contextmanager
    def guard(self, step: str) -> Iterator[None]:
        """Log an error of the block under the name `step`; only `RegistryUnavailable` gets out.

        This is the edge of a thread: an error that got out would end it, and the server would follow nothing
        any more without a word.
        """
        try:
            yield
        except RegistryUnavailable:
            raise
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            if self._last.get(step) != failure:
                self._last[step] = failure
                log.exception("%s failed; the next turn tries again", step)
        else:
            # After a success the same error is worth a line again.
            self._last.pop(step, None)
