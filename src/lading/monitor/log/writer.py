"""The process that writes the prediction log of one server: ``python -m lading.monitor.log.writer``.

Its workers send it connections over an inherited socket, and frames of records over those. It ends when the
last of them is closed, after everything that it has received is written, and not on SIGTERM: a service
manager sends that to every process of a server, which drains meanwhile. Knows no model.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lading.log_frames import FrameReader, Receipt, WriterSettings, encode_receipts
from lading.logs import set_up_logging
from lading.monitor.log.bucket import Bucket, Uploader, folder_of
from lading.monitor.log.journal import Journal
from lading.monitor.log.keeper import Keeper

log = logging.getLogger("lading.log")

_READ_BYTES = 1 << 20
_END_S = 20.0


class Connection:
    """The connection of one worker: cuts what it sends into frames, and sends back receipts."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self.reader = FrameReader()

    def send(self, receipts: list[Receipt]) -> None:
        """Send receipts; a worker that is gone, or that reads none, misses them."""
        with contextlib.suppress(OSError):
            self.socket.send(encode_receipts(receipts))


class Writer:
    """Reads the connections of all workers in one loop and writes what they send."""

    def __init__(
        self, inbox: socket.socket, settings: WriterSettings, keeper: Keeper, journal: Journal
    ) -> None:
        self._inbox = inbox
        self._settings = settings
        self._keeper = keeper
        self._journal = journal
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._inbox_open = True

    def run(self) -> None:
        """Run until the server and all its connections are gone."""
        self._inbox.setblocking(False)
        self._selector.register(self._inbox, selectors.EVENT_READ, None)
        flush_at = time.monotonic() + self._settings.flush_s
        # Workers that drain still send when the server itself has closed its end.
        while self._inbox_open or self._connections:
            for key, _ in self._selector.select(max(0.0, flush_at - time.monotonic())):
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.data)
            # Records are safe when they are flushed, and receipts are sent only then.
            if self._journal.must_flush or time.monotonic() >= flush_at:
                if self._journal.flush():
                    self._keeper.wake()
                flush_at = time.monotonic() + self._settings.flush_s
        self._journal.close()

    def _accept(self) -> None:
        data, ends, _, _ = socket.recv_fds(self._inbox, 1, 1)
        for end in ends:
            os.set_inheritable(end, False)
            connection = Connection(socket.socket(fileno=end))
            self._connections.add(connection)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        if not data and not ends:  # The server has ended.
            self._selector.unregister(self._inbox)
            self._inbox_open = False

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(connection)
            return
        try:
            for frame, body in connection.reader.feed(data):
                self._journal.add(frame, body, connection.send)
        except ValueError as error:  # Only a defect of ours sends this.
            log.error("a connection sent no records: %s", error)  # noqa: TRY400
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        self._journal.flush()  # While its receipts can still be sent.
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._connections.discard(connection)


def main(arguments: Sequence[str]) -> int:
    """Write the log that the arguments describe: a file descriptor, then the settings as JSON."""
    descriptor, text = arguments
    write_log(socket.socket(fileno=int(descriptor)), msgspec.json.decode(text, type=WriterSettings))
    return 0


def write_log(inbox: socket.socket, settings: WriterSettings) -> None:
    """Write what comes over `inbox` until its other end and all connections are closed."""
    # It ends with its connections: a signal to the whole group must not lose what is under way.
    for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(kind, signal.SIG_IGN)
    set_up_logging(settings.log_level, log_format=settings.log_format)
    if settings.url.startswith("s3://"):
        _write_to_bucket(inbox, settings)
        return
    root = Path(settings.url)
    keeper = Keeper(root, max_age_days=settings.max_age_days, max_bytes=settings.max_bytes)
    keeper.start()
    Writer(inbox, settings, keeper, Journal(root, settings)).run()
    keeper.stop(_END_S)


def _write_to_bucket(inbox: socket.socket, settings: WriterSettings) -> None:
    """Write a log whose files go to a bucket."""
    root = folder_of(Path(settings.spool), settings.url)
    keeper = Keeper(root)
    uploader = Uploader(
        root,
        Bucket(settings.url),
        max_age_days=settings.max_age_days,
        max_bytes=settings.max_bytes,
        spool_bytes=settings.spool_bytes,
    )
    keeper.start()
    uploader.start()
    Writer(inbox, settings, keeper, Journal(root, settings, uploader.refusal)).run()
    keeper.stop(_END_S)
    uploader.stop(_END_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
