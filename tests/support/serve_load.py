"""Callers of a server as a program: `python serve_load.py PORT BODY KIND=COUNT...`, until it is sent SIGTERM.

Prints a line when it calls, and at its end the number of answers by kind, and each failure: when, of which
kind, over which connection, and what it was. A `kept` caller keeps its connection, a `new` one makes another
for each request, a `light` one keeps it and pauses; `triton` is tritonclient, if its Python runs this. None
sends a request twice, as many clients do over a connection that has ended: all that fails is a failure.
"""

from __future__ import annotations

import collections
import http.client
import json
import signal
import sys
import threading
import time
from typing import Any

TIMEOUT_S = 60.0
PAUSE_S = 0.1
"""Of a light caller, which leaves a server with little to do."""


class Load:
    """What the callers share."""

    def __init__(self, port: int, body: bytes) -> None:
        self.port, self.body = port, body
        self.done = threading.Event()
        self.answered: collections.Counter[str] = collections.Counter()
        self.failed: list[dict[str, Any]] = []

    def failure(self, kind: str, over: str, began: float, error: str) -> None:
        """Count a request without its answer."""
        now = time.time()
        self.failed.append(
            {"at": now, "took": round(now - began, 3), "kind": kind, "over": over, "error": error[:300]}
        )

    def http(self, kind: str) -> None:
        """Ask over HTTP until the end."""
        connection = None
        while not self.done.is_set():
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
            # A server may have asked for a new one: `http.client` has closed the old one then.
            began, over = time.time(), "a kept connection" if connection.sock else "a new connection"
            try:
                connection.request("POST", "/predict", self.body, {"content-type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
            except (http.client.HTTPException, OSError) as error:
                self.failure(kind, over, began, repr(error))
                connection.close()
                connection = None
                continue
            if answer.status == 200 and text.startswith(b"{"):
                self.answered[kind] += 1
            else:
                self.failure(kind, over, began, f"{answer.status} {text.decode(errors='replace')}")
            if kind == "new":
                connection.close()
                connection = None
            elif kind == "light":
                self.done.wait(PAUSE_S)

    def triton(self) -> None:
        """Ask by tritonclient, over its own connections, until the end."""
        import numpy as np
        import tritonclient.http as triton

        # A client is of one thread.
        client = triton.InferenceServerClient(f"127.0.0.1:{self.port}", network_timeout=TIMEOUT_S)
        rows = triton.InferInput("X", [2, 4], "FP32")
        rows.set_data_from_numpy(np.zeros((2, 4), np.float32))
        while not self.done.is_set():
            began = time.time()
            try:
                shape = client.infer("iris", [rows]).as_numpy("probabilities").shape
            except Exception as error:  # noqa: BLE001 - whatever the client raises is counted
                self.failure("triton", "the client's own", began, repr(error))
                continue
            assert shape == (2, 3), shape
            self.answered["triton"] += 1


def main() -> None:
    """Call until there is a signal, and print what was seen."""
    load = Load(int(sys.argv[1]), sys.argv[2].encode())
    signal.signal(signal.SIGTERM, lambda *_: load.done.set())
    threads = []
    for kind, count in (argument.split("=") for argument in sys.argv[3:]):
        for _ in range(int(count)):
            target, arguments = (load.triton, ()) if kind == "triton" else (load.http, (kind,))
            threads.append(threading.Thread(target=target, args=arguments))
    for thread in threads:
        thread.start()
    print("calling", flush=True)
    # Without a limit in time, a wait would not be left for the signal.
    while not load.done.wait(0.1):
        pass
    for thread in threads:
        thread.join()
    print(json.dumps({"answered": load.answered, "failed": load.failed}))


if __name__ == "__main__":
    main()
