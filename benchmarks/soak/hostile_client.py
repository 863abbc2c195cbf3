"""The hostile client: each kind while its slot lasts. Started by `__main__`, as a process of its own.

Prints what each kind got, as JSON. It is nice: what it computes itself would on another machine take nothing
from the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import grpc_kinds  # noqa: F401 - registers its kinds
from good_client import start_at
from kinds import KINDS
from plan import Slot
from wire import Target

NICENESS = 10


async def main(port: int, grpc_port: int, slots: list[tuple[float, float, list[str]]]) -> None:
    start_s = start_at()
    got: dict[str, Counter[str]] = {name: Counter() for name in KINDS}
    for slot in (Slot(begin, end, tuple(kinds)) for begin, end, kinds in slots):
        if not slot.kinds:
            continue
        await asyncio.sleep(start_s + slot.start_s - time.monotonic())
        tasks = [
            asyncio.ensure_future(KINDS[name](Target(port, grpc_port, got[name]))) for name in slot.kinds
        ]
        await asyncio.wait(
            tasks, timeout=start_s + slot.end_s - time.monotonic(), return_when=asyncio.FIRST_EXCEPTION
        )
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task  # Raises if the kind itself is broken: then nothing was measured.
    sys.stdout.write(json.dumps({name: dict(counts) for name, counts in got.items() if counts}))


if __name__ == "__main__":
    os.nice(NICENESS)
    asyncio.run(main(**json.loads(sys.argv[1])))
