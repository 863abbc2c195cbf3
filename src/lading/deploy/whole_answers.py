"""uvicorn's answers in one write: a front gets the head with the beginning of the body, or nothing.

uvicorn writes the head of an answer by itself. Of a process that is killed after that, a front has passed on
a head without its body, and can ask nobody else any more. For hosts whose server is uvicorn and theirs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_send = RequestResponseCycle.send


def write_answers_whole() -> None:
    """Have uvicorn write answers so from now on, in this process. Idempotent."""
    RequestResponseCycle.send = _send_whole  # type: ignore[assignment, method-assign]


class HeadFirst:
    """A transport whose first bytes wait for those that come next; all else is `transport`'s."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._waits = True

    def write(self, data: bytes) -> None:
        """Keep the first bytes; write them with the second."""
        if self._waits and self._head is None:
            self._head = data
            return
        head, self._head, self._waits = self._head or b"", None, False
        self._transport.write(head + data)

    def flush(self) -> None:
        """Write what waits: no body comes for it."""
        if self._head is not None:
            self.write(b"")

    def close(self) -> None:
        """Close the transport, after what waits."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def _send_whole(cycle: RequestResponseCycle, message: Any) -> None:
    if message["type"] == "http.response.start" and not isinstance(cycle.transport, HeadFirst):
        cycle.transport = HeadFirst(cycle.transport)  # type: ignore[assignment]
        await _send(cycle, message)
        return
    await _send(cycle, message)
    # An answer to HEAD has no second write.
    if isinstance(cycle.transport, HeadFirst):
        cycle.transport.flush()
