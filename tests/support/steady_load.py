"""Callers of models at a bounded rate, each on a connection of its own, until they are stopped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Self

import httpx

PAUSE_S = 0.02


class SteadyLoad:
    """Asks each of `urls` some fifty times a second; `counts` is by version and status of the answers."""

    def __init__(self, urls: Iterable[str], path: str, rows: Callable[[], Any]) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self.broken: list[str] = []
        self._rows = rows
        self._path = path
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url,), daemon=True) for url in urls]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def versions(self) -> set[str]:
        """Return the versions that have answered since the last call."""
        counts, self.counts = self.counts, Counter()
        return {version for version, _ in counts}

    def _ask(self, url: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            # The pause bounds the rate: the tests' machine has two cores for all.
            while not self._stop.wait(PAUSE_S):
                try:
                    answer = client.post(self._path, json={"data": self._rows()})
                except httpx.HTTPError as error:
                    self.broken.append(f"{url}: {error!r}")
                    continue
                model = answer.json().get("model", "") if answer.status_code == 200 else answer.text
                self.counts[model, answer.status_code] += 1
