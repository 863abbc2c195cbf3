"""What goes from answered requests into the prediction log: a share of them, without excluded columns.

Works on chunks of a few hundred requests: encodes them, and queues them for the thread that sends them.
Columns that are excluded or hashed leave this process no other way. Writes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lading.log_frames import (
    LABELS_VERSION,
    MOST_FRAME_BYTES,
    Answers,
    Labels,
    Part,
    encode_frame,
    field_names,
    part_of,
    times_to_bytes,
)
from lading.server.inference.version import ServedVersion
from lading.server.observe.chunks import AnswerChunk
from lading.server.observe.log_sender import LogCounts, LogSender, QueuedFrame
from lading.signature import Array, Tensor

log = logging.getLogger("lading.server")

_HASH_BYTES = 16
_IDS = 2**32


@dataclass(frozen=True, slots=True)
class Privacy:
    """Columns, inputs or outputs that are left out, and those that are logged as hashes with a `key`."""

    excluded: frozenset[str] = frozenset()
    hashed: frozenset[str] = frozenset()
    key: bytes = b""

    def hash(self, value: Any) -> str:
        """Return what is logged instead of a value: equal for equal values, and nothing without the key."""
        # Of a number its bytes: 1.0 as float32 and as float64 are hashed differently, as are their columns.
        data = value.encode("utf-8", "replace") if isinstance(value, str) else value.tobytes()
        return hashlib.blake2b(data, key=self.key, digest_size=_HASH_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one tensor is logged: which of its columns as they are, and which as hashes."""

    tensor: Tensor
    group: str
    fields: tuple[str, ...]
    kept: tuple[int, ...] | None  # None: the whole of it
    hashed: tuple[int, ...]


class PredictionLog:
    """The part of the prediction log in one worker; a consumer of `AnswerChunk`.

    `share` of the requests are logged, chosen by their ids, so that every replica, and both sides of a
    shadow, choose the same.
    """

    def __init__(
        self,
        share: float,
        sender: LogSender,
        *,
        replica: str = "",
        privacy: Privacy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._most = int(share * _IDS)
        self._sender = sender
        self._replica = replica
        self._privacy = privacy or Privacy()
        self._clock = clock
        self._plans: dict[tuple[str, int, str], tuple[_Plan, ...]] = {}
        # Names of which no model has shown a column yet: a typing error would log what nobody wants logged.
        self._unseen = set(self._privacy.excluded | self._privacy.hashed)

    def start(self, counts: LogCounts) -> None:
        """Begin to send; `counts` is where written and dropped records are counted."""
        self._sender.start(counts)

    def __call__(self, chunk: AnswerChunk) -> None:
        """Log the chosen requests of a chunk."""
        chosen = self._chosen(chunk.ids)
        if chosen is not None:
            if not chosen:
                return
            chunk = _subset(chunk, chosen)
        for part in _divided(chunk):
            self._send_answers(part)

    def add_labels(self, model: str, request_id: bytes, labels: tuple[str, ...]) -> bool:
        """Log the truth about an answer, if that is logged; return whether it is."""
        if zlib.crc32(request_id) >= self._most:
            return False
        frame = Labels(model, [request_id], [labels], [self._clock()])
        self._sender.send(QueuedFrame(model, LABELS_VERSION, frame.records, encode_frame(frame)))
        return True

    def _chosen(self, ids: Sequence[bytes]) -> list[int] | None:
        """Return which requests are logged; None for all."""
        if self._most >= _IDS:
            return None
        # CRC-32 is no secret, and need not be: it only has to be the same everywhere, and cheap.
        most, crc = self._most, zlib.crc32
        return [at for at, request_id in enumerate(ids) if crc(request_id) < most]

    def _send_answers(self, chunk: AnswerChunk) -> None:
        served = chunk.served
        whole, count = _is_whole(chunk), len(chunk.ids)
        parts: list[Part] = []
        body: list[bytes] = []
        for plan in self._plans_of(served):
            array = (chunk.inputs if plan.group == "inputs" else chunk.outputs).get(plan.tensor.name)
            if array is None:
                continue  # The request failed, or its caller did not ask for this output.
            for part, data in self._encoded(plan, array[None] if whole else array):
                parts.append(part)
                body.append(data)
        frame = Answers(
            model=served.name,
            version=served.version,
            digest=served.digest,
            release=chunk.release,
            replica=self._replica,
            ids=chunk.ids,
            rows=[1] if whole else chunk.rows,
            side=chunk.side or "live",
            statuses=chunk.statuses[:1]
            if chunk.statuses.count(chunk.statuses[0]) == count
            else chunk.statuses,
            errors=chunk.errors if any(chunk.errors) else [],
            latencies_s=times_to_bytes(chunk.latencies_s),
            ended_at=times_to_bytes(chunk.ended_at),
            warnings=[list(texts) for texts in chunk.warnings] if any(chunk.warnings) else [],
            parts=parts,
        )
        self._sender.send(QueuedFrame(served.name, served.version, frame.records, encode_frame(frame, body)))

    def _encoded(self, plan: _Plan, array: Array) -> Iterator[tuple[Part, bytes]]:
        name, fields = plan.tensor.name, plan.fields
        if plan.kept is None:
            yield part_of(plan.group, name, array, fields)
            return
        if plan.kept:
            kept = array[..., list(plan.kept)]
            yield part_of(plan.group, name, kept, tuple(fields[at] for at in plan.kept))
        for at in plan.hashed:
            values = array[..., at] if fields else array
            flat = [self._privacy.hash(value) for value in values.ravel()]
            texts = np.array(flat, dtype=object).reshape(values.shape)
            if fields:
                yield part_of(plan.group, name, texts[..., None], (fields[at],))
            else:
                yield part_of(plan.group, name, texts)

    def _plans_of(self, served: ServedVersion) -> tuple[_Plan, ...]:
        # By key and not by object: a version that was loaded again is the same version.
        plans = self._plans.get(served.key)
        if plans is None:
            signature = served.signature
            plans = self._plans[served.key] = (
                *self._plan("inputs", signature.inputs),
                *self._plan("outputs", signature.outputs),
            )
            self._warn_of_unseen(served)
        return plans

    def _plan(self, group: str, tensors: Sequence[Tensor]) -> Iterator[_Plan]:
        names = field_names(tensors)
        excluded, hashed = self._privacy.excluded, self._privacy.hashed
        for tensor in tensors:
            fields = names[tensor.name]
            # A column is named as its field is, as the model names it, or by the whole of its tensor.
            own = tensor.columns or fields
            ways = [{tensor.name, field, column} for field, column in zip(fields, own, strict=True)]
            ways = ways or [{tensor.name}]
            self._unseen -= set().union(*ways)
            out = {at for at, its_names in enumerate(ways) if its_names & excluded}
            secret = tuple(
                at for at, names_of_it in enumerate(ways) if names_of_it & hashed and at not in out
            )
            if not out and not secret:
                yield _Plan(tensor, group, fields, None, ())
                continue
            kept = tuple(at for at in range(len(fields)) if at not in out and at not in secret)
            yield _Plan(tensor, group, fields, kept, secret)

    def _warn_of_unseen(self, served: ServedVersion) -> None:
        if self._unseen:
            names = ", ".join(f"`{name}`" for name in sorted(self._unseen))
            log.warning(
                "%s has no column %s, which is not to be logged: is that its name?", served.label, names
            )


def _is_whole(chunk: AnswerChunk) -> bool:
    """Return whether the chunk is one request whose arrays have no rows that could be records."""
    return len(chunk.ids) == 1 and not chunk.served.signature.batched


def _subset(chunk: AnswerChunk, chosen: list[int]) -> AnswerChunk:
    """Return the chosen requests of a chunk."""
    if len(chosen) == len(chunk.ids):
        return chunk
    # The rows of all requests follow each other in the arrays.
    ends = np.cumsum(chunk.rows)
    rows = np.concatenate([np.arange(ends[at] - chunk.rows[at], ends[at]) for at in chosen])

    def pick(values: list[Any]) -> list[Any]:
        return [values[at] for at in chosen]

    def pick_rows(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array[rows] for name, array in arrays.items()}

    return AnswerChunk(
        served=chunk.served,
        release=chunk.release,
        side=chunk.side,
        ids=pick(chunk.ids),
        rows=pick(chunk.rows),
        statuses=pick(chunk.statuses),
        errors=pick(chunk.errors),
        latencies_s=pick(chunk.latencies_s),
        ended_at=pick(chunk.ended_at),
        warnings=pick(chunk.warnings),
        inputs=pick_rows(chunk.inputs),
        outputs=pick_rows(chunk.outputs),
    )


def _divided(chunk: AnswerChunk) -> Iterator[AnswerChunk]:
    """Divide a chunk that is too large for a frame by its requests."""
    size = sum(array.nbytes for arrays in (chunk.inputs, chunk.outputs) for array in arrays.values())
    count = len(chunk.ids)
    if size <= MOST_FRAME_BYTES // 2 or count == 1:
        yield chunk
        return
    # Halves, until each fits: requests of one chunk may have very different numbers of rows.
    middle = count // 2
    yield from _divided(_subset(chunk, list(range(middle))))
    yield from _divided(_subset(chunk, list(range(middle, count))))


def names_in(text: str) -> frozenset[str]:
    """Return the names of a comma-separated setting."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())
