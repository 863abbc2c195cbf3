"""Callers of the iris model: they send flowers, and later report what some of them really were.

Stops on SIGTERM and prints how many requests there were and how many failed. Connects to 127.0.0.1 only.
"""

from __future__ import annotations

import http.client
import json
import random
import signal
import sys
import threading
import time

from sklearn.datasets import load_iris

FEEDBACK_SHARE = 0.3
"""The share of answers whose truth is sent as feedback."""
PAUSE_S = 0.001


class Callers:
    """Several callers, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        iris = load_iris()
        self._flowers = iris.data.tolist()
        self._names = [str(iris.target_names[target]) for target in iris.target]
        self._stop = threading.Event()
        self.requests, self.failed = [0, 0], [0, 0]

    def run(self) -> None:
        """Call until stopped."""
        threads = [threading.Thread(target=self._call, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self, *_signal: object) -> None:
        """Let every caller finish its request and stop."""
        self._stop.set()

    def _call(self, number: int) -> None:
        draw = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._stop.is_set():
            at = draw.randrange(len(self._flowers))
            status, request_id = _post(connection, "/models/iris/predict", {"data": [self._flowers[at]]})
            self.requests[number] += 1
            self.failed[number] += status != 200
            if status == 200 and draw.random() < FEEDBACK_SHARE:
                truth = {"request_id": request_id, "label": self._names[at]}
                _post(connection, "/models/iris/feedback", truth)
            time.sleep(PAUSE_S)
        connection.close()


def _post(connection: http.client.HTTPConnection, path: str, body: object) -> tuple[int, str]:
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("x-request-id", "")


if __name__ == "__main__":
    callers = Callers(int(sys.argv[1]))
    signal.signal(signal.SIGTERM, callers.stop)
    callers.run()
    print(f"{sum(callers.requests):,} requests, {sum(callers.failed)} failed")
