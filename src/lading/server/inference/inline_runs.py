"""Which runs may stay in the thread of their caller: those of sizes that are known to be short.

For HTTP that thread is the event loop: whatever runs there keeps health checks, deadlines and all other
models waiting. So a run of unknown length goes to a queue, where runs show what a size takes. Runs nothing
itself, and knows no job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lading.signature import BATCH, UNNAMED, Array, Signature

INLINE_S = 0.0002
"""A run that takes less is short: passing it to another thread costs about 100 µs."""

SURPRISE_S = 0.002
"""A run that stayed and took longer is run again elsewhere before others of its size may stay."""

_PROOFS = 3
_MOST_SIZES = 1024
_ANY_ROWS = 2**62
_SHORT_TEXT_BITS = 6
_SHORT_TEXT = 2**_SHORT_TEXT_BITS

RowSize = int | tuple[int, ...]
"""How large a row is where rows vary: the bits of the only open size; else of each, and of each longest text.

A handful of different ones, whatever clients send. Texts shorter than 64 characters are all alike.
"""


@dataclass(slots=True)
class _Known:
    """What is known of rows of one size: the most of which a run may ever be called short.

    ``longest`` is the greatest number of rows of which runs in a queue were short, `proofs` times.
    """

    limit: int = _ANY_ROWS
    longest: int = 0
    proofs: int = 0
    doubted: bool = False


class InlineRuns:
    """What is known of the length of one model's runs.

    ``short_rows`` has the most rows of a run that is known to be short, by the size of a row. ``varies`` is
    whether rows differ in size. If they do not, ``rows`` is that number, and saves requests a look-up.
    Threads may share it: what one update loses the next runs show again.
    """

    def __init__(self, signature: Signature, *, learns: bool = True) -> None:
        """Know nothing yet; without `learns` that stays so, and every run is queued."""
        self._learns = learns
        self._axes = tuple(_open_axes(signature))
        texts = [tensor for tensor in signature.inputs if tensor.dtype == "string"]
        self._texts = tuple(tensor.name for tensor in texts)
        self._only_texts = bool(texts) and not self._axes and all(tensor.scalar_rows for tensor in texts)
        self._only_axis = self._axes[0] if len(self._axes) == 1 and not texts else None
        self.varies = learns and bool(self._axes or texts)
        self.short_rows: dict[RowSize, int] = {}
        self.rows = 0
        self._known: dict[RowSize, _Known] = {}

    def size_of(self, inputs: Mapping[str, Array], rows: int) -> RowSize:
        """Return the size of the `rows` rows of `inputs`; empty if it does not vary."""
        # First what most requests are; each takes a fraction of a microsecond.
        if self._only_axis is not None:
            name, axis = self._only_axis
            length: int = inputs[name].shape[axis]
            return length.bit_length()
        if rows == 1 and self._only_texts:
            for name in self._texts:
                if len(inputs[name].item()) >= _SHORT_TEXT:
                    break
            else:
                return ()
        sizes = [inputs[name].shape[axis].bit_length() for name, axis in self._axes]
        lengths = [max(map(len, inputs[name].ravel().tolist()), default=0) for name in self._texts]
        bits = [(length >> _SHORT_TEXT_BITS).bit_length() for length in lengths]
        if any(bits):
            sizes += bits
        return tuple(sizes)

    def measured(self, inputs: Mapping[str, Array], rows: int) -> None:
        """Learn that runs of up to `rows` rows like those of `inputs` are short."""
        size = self.size_of(inputs, rows)
        self._set_rows(size, max(self.short_rows.get(size, 0), rows))

    def ran(self, inputs: Iterable[Mapping[str, Array]], rows: int) -> None:
        """Learn from a run in a queue that was short: `rows` rows, of these requests together."""
        if not self._learns or (not self.varies and rows <= self.rows):
            return
        sizes = {self.size_of(each, rows) for each in inputs}
        if len(sizes) > 1:  # Which of them it says something about is not clear.
            return
        (size,) = sizes
        known = self._entry(size)
        if known.doubted or not self.short_rows.get(size, 0) < rows <= known.limit:
            return
        known.longest = max(known.longest, rows)
        known.proofs += 1
        if known.proofs >= _PROOFS:
            self._set_rows(size, 2 ** known.longest.bit_length() - 1)
            known.longest = known.proofs = 0

    def doubt(self, size: RowSize) -> int | None:
        """Have runs of this size queued; return how many rows were short, None if doubted already."""
        known = self._entry(size)
        if known.doubted:
            return None
        known.doubted, rows = True, self.short_rows.get(size, 0)
        self._set_rows(size, 0)
        return rows

    def settle(self, size: RowSize, rows: int, limit: int = _ANY_ROWS) -> None:
        """End the doubt: runs of up to `rows` rows are short, and runs of more than `limit` never are."""
        known = self._entry(size)
        known.doubted = False
        known.limit = min(known.limit, limit)
        self._set_rows(size, rows)

    def _entry(self, size: RowSize) -> _Known:
        known = self._known.get(size)
        if known is None:
            if len(self._known) >= _MOST_SIZES:
                oldest = next(iter(self._known))
                del self._known[oldest]
                self.short_rows.pop(oldest, None)
            known = self._known[size] = _Known()
        return known

    def _set_rows(self, size: RowSize, rows: int) -> None:
        self.short_rows[size] = rows = min(rows, self._entry(size).limit)
        if not self.varies:
            self.rows = rows


def _open_axes(signature: Signature) -> Iterable[tuple[str, int]]:
    """Return input and axis of each size that requests choose, besides the number of rows; each name once."""
    # Sizes of one name are equal in a request, and that of the rows is looked at by itself.
    named = {BATCH} if signature.inputs[0].batched else set()
    for tensor in signature.inputs:
        for axis, size in enumerate(tensor.shape):
            if isinstance(size, str) and size not in named:
                if size != UNNAMED:
                    named.add(size)
                yield tensor.name, axis
