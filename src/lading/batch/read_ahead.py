"""What is iterated over in a thread of its own, one step ahead."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


def read_ahead(source: Iterator[_T]) -> Generator[_T]:
    """Iterate over `source`; its next value is made while the last one is used. Raises what it raises."""

    def step() -> list[_T]:
        # Empty at the end, as any value could be one of the source.
        return list(islice(source, 1))

    with ThreadPoolExecutor(1, "reading") as pool:
        following = pool.submit(step)
        while values := following.result():
            following = pool.submit(step)
            yield from values
