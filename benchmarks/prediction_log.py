"""The writer of the prediction log under load: what it writes a second, what it takes, what is dropped.

Sends chunks of answered requests, as a server does, at a steady rate from this process to a real writer:

    python benchmarks/prediction_log.py --rate 30000 --minutes 10

Prints a line each ten seconds and a summary. `--query ROWS` writes a log of so many records instead, and
measures filters over it. What the log costs a server is in `observation.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from lading.log_frames import WriterSettings
from lading.server.observe.chunks import AnswerChunk
from lading.server.observe.log_sender import LogSender
from lading.server.observe.prediction_log import PredictionLog
from lading.server.process.log_writer import LogWriter
from lading.signature import Signature, Tensor

COLUMNS = tuple(f"column {number}" for number in range(10))
SIGNATURE = Signature(
    inputs=(Tensor(name="X", dtype="float32", shape=("batch", len(COLUMNS)), columns=COLUMNS),),
    outputs=(
        Tensor(name="label", dtype="string", shape=("batch",)),
        Tensor(name="probabilities", dtype="float32", shape=("batch", 3), columns=("a", "b", "c")),
    ),
)
CHUNK = 256
_TICKS = 100.0


class Counts:
    """What the writer has confirmed and what was dropped."""

    def __init__(self) -> None:
        self.written = 0
        self.dropped: dict[str, int] = {}

    def count_log_records(self, _model: str, _version: int, records: int) -> None:
        self.written += records

    def count_log_dropped(self, reason: str, records: int) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + records


def chunks(seed: int = 0):
    """Iterate without end over chunks of one-row requests with ten columns and two outputs."""
    draws = np.random.default_rng(seed)
    served = SimpleNamespace(
        name="iris", version=3, digest="sha256:" + "ab" * 32, signature=SIGNATURE, label="iris:3"
    )
    served.key = (served.name, served.version, served.digest)
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)
    while True:
        data = draws.bytes(12 * CHUNK).hex().encode()
        inputs = {"X": draws.normal(size=(CHUNK, len(COLUMNS))).astype(np.float32)}
        scores = draws.random((CHUNK, 3), dtype=np.float32)
        yield AnswerChunk(
            served=served,
            release=1,
            side="live",
            ids=[data[24 * at : 24 * at + 24] for at in range(CHUNK)],
            rows=[1] * CHUNK,
            statuses=[200] * CHUNK,
            errors=[""] * CHUNK,
            latencies_s=draws.exponential(0.001, CHUNK).tolist(),
            ended_at=[time.time()] * CHUNK,
            warnings=[()] * CHUNK,
            inputs=inputs,
            outputs={"label": names[scores.argmax(axis=1)], "probabilities": scores},
        )


def resident_mb(pid: int) -> float:
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return int(fields["RssAnon"].split()[0]) / 1024 + int(fields["RssFile"].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def run(rate: int, minutes: float, folder: Path) -> None:
    counts = Counts()
    settings = WriterSettings(url=str(folder), max_age_days=0, max_bytes=0)
    writer = LogWriter(settings)
    writer.check()
    sender = LogSender(writer.inbox)
    predictions = PredictionLog(1.0, sender, replica="benchmark-1")
    predictions.start(counts)
    ready = [chunk for chunk, _ in zip(chunks(), range(50), strict=False)]
    time.sleep(2)
    memory, spent_s, sent = [], 0.0, 0
    began, cpu_before = time.monotonic(), cpu_s(writer.pid)
    printed_at = began
    while (now := time.monotonic()) - began < minutes * 60:
        if sent < rate * (now - began):
            chunk = ready[sent // CHUNK % len(ready)]
            chunk.ended_at[:] = [time.time()] * CHUNK
            # The time of this thread alone: others take the processors meanwhile.
            before = time.thread_time()
            predictions(chunk)
            spent_s += time.thread_time() - before
            sent += CHUNK
        else:
            time.sleep(0.002)
        if now - printed_at >= 10:
            printed_at = now
            memory.append(resident_mb(writer.pid))
            used = (cpu_s(writer.pid) - cpu_before) / (now - began)
            print(
                f"{now - began:6.0f} s  sent {sent:>9}  written {counts.written:>9}  dropped {counts.dropped}"
                f"  writer {memory[-1]:.0f} MB, {used:.2f} CPU",
                flush=True,
            )
    ended = time.monotonic()
    used = (cpu_s(writer.pid) - cpu_before) / (ended - began)
    sender.close(20)
    writer.close()
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    print(
        f"\n{sent / (ended - began):,.0f} records/s for {(ended - began) / 60:.1f} min: {sent} sent, "
        f"{counts.written} written, dropped {counts.dropped or 0}"
    )
    if memory:
        print(f"writer: {memory[0]:.0f} MB first, {max(memory):.0f} MB most, {memory[-1]:.0f} MB last")
    print(f"writer: {used:.2f} of a CPU; server: {spent_s / sent * 1e6:.2f} µs a request in its thread")
    print(f"{size / sent:.0f} bytes a record in Parquet")


def query(rows: int, folder: Path) -> None:
    """Write `rows` records over a day, then time filters by hour and column."""
    from lading.log_frames import FrameReader
    from lading.monitor.log.journal import Journal
    from lading.monitor.log.keeper import convert_closed
    from lading.monitor.log.reader import open_log

    settings = WriterSettings(url=str(folder), max_age_days=0, max_bytes=0)
    journal = Journal(folder, settings)
    reader = FrameReader()
    start = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
    predictions = PredictionLog(
        1.0,
        SimpleNamespace(
            send=lambda frame: [journal.add(*item, lambda _: None) for item in reader.feed(frame.data)]
        ),
        replica="benchmark-1",
    )
    ready = [chunk for chunk, _ in zip(chunks(), range(200), strict=False)]
    began = time.monotonic()
    for sent in range(0, rows, CHUNK):
        chunk = ready[sent // CHUNK % len(ready)]
        chunk.ended_at[:] = [start + sent / rows * 86_399] * CHUNK
        predictions(chunk)
        if journal.must_flush:
            journal.flush()
    journal.close()
    convert_closed(folder)
    files = list(folder.rglob("*.parquet"))
    size = sum(path.stat().st_size for path in files)
    print(f"{rows} records in {len(files)} files, {size / 1e6:.0f} MB, {time.monotonic() - began:.0f} s")
    log = open_log(str(folder))
    for sql in (
        'select count(*), avg(inputs."column 3") from log where hour = 14 and inputs."column 3" > 1',
        (
            "select count(*) from log where time >= '2026-11-30 14:10' and time < '2026-11-30 14:20' "
            'and inputs."column 7" between 0 and 0.1'
        ),
        "select outputs.label, count(*) from log where hour = 3 group by all",
        "select hour, count(*), avg(latency_s) from log group by hour",
        'select count(*) from log where inputs."column 3" > 3',
    ):
        times = []
        for _ in range(5):
            before = time.perf_counter()
            log.query("iris", sql)
            times.append(time.perf_counter() - before)
        print(f"{statistics.median(times):6.2f} s  {sql}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=30_000, help="records a second")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--query", type=int, metavar="ROWS", help="measure queries over so many records")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="lading-log-"))
    try:
        if options.query:
            query(options.query, folder)
        else:
            run(options.rate, options.minutes, folder)
    finally:
        if options.folder is None:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
