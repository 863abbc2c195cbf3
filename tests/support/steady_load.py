"""Callers of models at a bounded rate, each on a connection of its own, until they are stopped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Self

import httpx

from support.waiting import wait_until

PAUSE_S = 0.02


class SteadyLoad:
    """Asks each of `urls` some fifty times a second; `counts` is by version and status of the answers."""

    def __init__(self, urls: Iterable[str], path: str, rows: Callable[[], Any]) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self.broken: list[str] = []
        self._rows = rows
        self._path = path
        servers = list(urls)
        self._last: dict[str, tuple[tuple[str, int], int]] = dict.fromkeys(servers, (("", 0), 0))
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url,), daemon=True) for url in servers]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, model: str, within_s: float) -> None:
        """Wait until each server has answered with that version last, twenty times in a row."""
        wait_until(
            lambda: all(last == (model, 200) and row >= 20 for last, row in self._last.values()),
            within_s,
            lambda: f"{model}: {self._last}, {self.broken[-3:]}",
        )

    def _ask(self, url: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            # The pause bounds the rate: the tests' machine has two cores for all.
            while not self._stop.wait(PAUSE_S):
                try:
                    answer = client.post(self._path, json={"data": self._rows()})
                except httpx.HTTPError as error:
                    self.broken.append(f"{url}: {error!r}")
                    continue
                model = answer.headers["x-lading-model"] if answer.status_code == 200 else answer.text
                self.counts[model, answer.status_code] += 1
                last, row = self._last[url]
                now = (model, answer.status_code)
                self._last[url] = (now, row + 1 if now == last else 1)
