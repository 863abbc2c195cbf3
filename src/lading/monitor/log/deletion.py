"""Removes records from a log: files are written again without them, each replaced as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lading.errors import StillInUse
from lading.monitor.log.files import write_file
from lading.monitor.log.keeper import convert_closed
from lading.monitor.log.layout import CLOSE_REQUEST, LABELS, SEGMENTS
from lading.monitor.log.reader import LogReader
from lading.monitor.log.segments import read_segment, segment_paths

_CLOSE_S = 15.0
_POLL_S = 0.1
_ASK_AGAIN_S = 1.0


def close_segments(log: LogReader, model: str, timeout_s: float = _CLOSE_S) -> None:
    """Have every record of a model in a file: ask writers to close their segments, and wait for that.

    Raises `StillInUse` if a writer does not in time.
    """
    root = log.root
    waiting = _segments_of(root, model)
    if not waiting:
        return
    # A file and no signal: the writer may run on another machine that shares the folder.
    request = root / SEGMENTS / CLOSE_REQUEST
    request.touch()
    asked_at = time.monotonic()
    ends_at = asked_at + timeout_s
    while True:
        convert_closed(root)
        waiting = [path for path in waiting if path.exists()]
        if not waiting:
            return
        now = time.monotonic()
        if now > asked_at + _ASK_AGAIN_S:
            # Times of files are some milliseconds coarse: to a writer that has just begun, the request may
            # have looked older than itself.
            request.touch()
            asked_at = now
        if now > ends_at:
            hint = "stop the server that logs there, or try again"
            where = f"segments of `{model}` in `{log.where}`"
            raise StillInUse(where, expected="them to be closed", found=f"{len(waiting)} open", hint=hint)
        time.sleep(_POLL_S)


def matching(log: LogReader, model: str, where: str) -> pa.Table:
    """Return where the records are that match `where`: file, row in it, and the id of the request.

    Raises `UsageError` for SQL that is wrong.
    """
    with log.tables(model) as tables:
        return tables.positions(where)


def delete_records(log: LogReader, model: str, positions: pa.Table) -> int:
    """Remove the records at `positions`, and all labels of their requests; return how many records went.

    Raises `OSError`, and for a log in a bucket `RegistryUnavailable`; what was replaced until then stays so.
    """
    # Each file once, however many of its records go.
    by_file: dict[str, list[int]] = {}
    names, rows = positions.column("filename").to_pylist(), positions.column("file_row_number").to_pylist()
    for name, row in zip(names, rows, strict=True):
        by_file.setdefault(name, []).append(row)
    for name, numbers in sorted(by_file.items()):
        path = Path(name)
        keep = np.ones(pq.read_metadata(path).num_rows, dtype=bool)
        keep[numbers] = False
        _rewrite(log, path, keep)
    # A label says as much about a person as the record that it belongs to.
    ids = pc.unique(positions.column("id"))
    for path in sorted((log.root / LABELS / f"model={model}").rglob("[!.]*.parquet")):
        keep = ~np.asarray(pc.is_in(pq.read_table(path, columns=["id"]).column("id"), value_set=ids))
        if not keep.all():
            _rewrite(log, path, keep)
    return len(names)


def _rewrite(log: LogReader, path: Path, keep: np.ndarray) -> None:
    file = pq.ParquetFile(path)

    def groups() -> Iterator[pa.Table]:
        start = 0
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            kept = table.filter(pa.array(keep[start : start + table.num_rows]))
            start += table.num_rows
            if kept.num_rows:
                yield kept

    if keep.any():
        write_file(path, log.root, file.schema_arrow, groups())
    else:
        path.unlink()
    log.replaced(path)


def _segments_of(root: Path, model: str) -> list[Path]:
    waiting = []
    for path in segment_paths(root):
        try:
            opened = read_segment(path)
        except FileNotFoundError:
            continue
        if opened is not None and opened[0].model == model:
            waiting.append(path)
    return waiting
