"""Where named numbers are within one block of numbers: declared by their sizes, in order. Holds no number."""

from __future__ import annotations

from collections.abc import Iterator


class Layout:
    """Parts of a block, one after the other: ``Layout(statuses=42, received_bytes=1)``."""

    def __init__(self, **sizes: int) -> None:
        self._parts: dict[str, slice] = {}
        end = 0
        for name, size in sizes.items():
            self._parts[name] = slice(end, end + size)
            end += size
        self.size = end
        """How many numbers the block has."""

    def __iter__(self) -> Iterator[str]:
        """Return the names of the parts in order."""
        return iter(self._parts)

    def start(self, name: str) -> int:
        """Return the index of the first number of a part."""
        start: int = self._parts[name].start
        return start

    def part(self, name: str) -> slice:
        """Return where a part is, as a slice of the block."""
        return self._parts[name]
