"""Jobs through two real servers that are killed in turn, with what can be known of it afterwards.

Triggers in the database count how often the result of a job is written: nothing in lading could hide a second
time.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import random
import secrets
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from lading.jobs import Submission
from lading.registry import Registry
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

PRIORITIES = 5
START_S = 600.0
FLAGS = (
    *("--jobs", "--grpc-port", "-1", "--job-concurrency", "16"),
    *("--job-lease-s", "2", "--job-attempts", "50"),
)
_AUDIT_SQLITE = (
    "CREATE TABLE written (id TEXT, state TEXT)",
    """CREATE TRIGGER audit AFTER UPDATE OF state ON jobs WHEN NEW.state IN ('done', 'failed', 'cancelled')
       BEGIN INSERT INTO written VALUES (NEW.id, NEW.state); END""",
)
_AUDIT_POSTGRES = (
    "CREATE TABLE written (id TEXT, state TEXT)",
    """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN INSERT INTO written VALUES (NEW.id, NEW.state); RETURN NEW; END $$""",
    """CREATE TRIGGER audit AFTER UPDATE OF state ON jobs FOR EACH ROW
       WHEN (NEW.state IN ('done', 'failed', 'cancelled')) EXECUTE FUNCTION note()""",
)


class Receiver:
    """Takes webhooks on 127.0.0.1; refuses the first attempt of some, and checks every signature."""

    def __init__(self, secret: bytes, refuse_one_in: int = 7) -> None:
        self.delivered: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self._secret = secret
        self._refuse_one_in = refuse_one_in
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            # Connections are kept, as by most receivers.
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    self.close_connection = True
                    return  # Its sender was killed: half a message is none.
                self.send_response(receiver.take(dict(self.headers.items()), body))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            # The default of 5 drops connections of 32 senders, and each then waits a second for the next SYN.
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                # Senders are killed here; any other failure of the receiver is printed.
                if not isinstance(sys.exception(), ConnectionError):
                    super().handle_error(request, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/done"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        by_name = {name.lower(): value for name, value in headers.items()}
        message, timestamp = by_name["webhook-id"], by_name["webhook-timestamp"]
        digest = hmac.new(self._secret, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        with self._lock:
            if by_name["webhook-signature"] != f"v1,{base64.b64encode(digest).decode()}":
                self.wrong.append(message)
                return 401
            job = message.removeprefix("msg_")
            chosen = int(job[:8], 16) % self._refuse_one_in == 0
            if chosen and not self.refused[job]:
                self.refused[job] += 1
                return 503
            self.delivered[job] += 1
            self.bodies[job] = json.loads(body)
            return 204

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Replica:
    """One of the two places where a server runs; another is started there when it is killed."""

    environ: dict[str, str]
    flags: tuple[str, ...]
    kills: int = 0
    server: ServerProcess | None = None
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self) -> None:
        def started() -> bool:
            # On a machine that others keep busy a start may take longer than `serving` waits.
            try:
                self.server = self._running.enter_context(serving(flags=self.flags, environ=self.environ))
            except AssertionError:
                return False
            return True

        wait_until(started, START_S)

    def kill(self) -> None:
        """End the server as if its machine had failed."""
        assert self.server is not None
        self.server.process.send_signal(signal.SIGKILL)
        self.server.process.wait()
        self._running.close()
        self.kills += 1

    def stop(self) -> int:
        assert self.server is not None
        code = self.server.stop(60)
        self._running.close()
        return code


@dataclass
class Outcome:
    """The end of all jobs, for a test to look at."""

    jobs: int
    states: Counter[str]
    written_more_than_once: int
    never_written: int
    wrong_answers: int
    out_of_order: int
    taken_again: int
    kills: tuple[int, int]
    seconds: float
    webhooks: int
    webhooks_missing: int
    webhooks_twice: int
    webhooks_refused: int
    wrong_signatures: int


class Fleet:
    """Two replicas over one registry, jobs that are submitted through both, and their webhooks."""

    def __init__(self, registry_url: str, folder: Path) -> None:
        self.url = registry_url
        self._store = str(folder / "store")
        secret = secrets.token_bytes(32)
        (folder / "secret").write_text(f"whsec_{base64.b64encode(secret).decode()}\n")
        self.receiver = Receiver(secret)
        webhooks = ("--job-webhook-secret-file", str(folder / "secret"), "--job-webhook-hosts", "127.0.0.1")
        self.registry = Registry.open(registry_url, store=self._store)
        push_proved(self.registry, linear_bundle(folder / "iris"))
        self.registry.release("iris:1", actor="t")
        self._audit()
        environ = {"LADING_REGISTRY": registry_url, "LADING_STORE": self._store}
        self.replicas = tuple(
            Replica({**environ, "LADING_CACHE": str(folder / f"cache-{at}")}, (*FLAGS, *webhooks))
            for at in (1, 2)
        )
        self.bodies: dict[str, bytes] = {}
        self._random = random.Random(17)

    def run(self, count: int, *, kill_every_s: float, kills: int) -> Outcome:
        """Submit `count` jobs, half before a server runs; kill each replica so often; wait for all of it."""
        began = time.monotonic()
        self._submit_before(count // 2)
        for replica in self.replicas:
            replica.start()
        expected = self._expected()
        with ThreadPoolExecutor(1) as killing:
            killer = killing.submit(self._kill_in_turn, kill_every_s, kills)
            self._submit_through_both(count - count // 2)
            killer.result()
        wait_until(self._have_all_ended, 1800, self._progress)
        wait_until(lambda: len(self.receiver.delivered) >= count, 600, self._progress)
        took_s = time.monotonic() - began
        outcome = self._outcome(count, expected, took_s)
        assert [replica.stop() for replica in self.replicas] == [0, 0]
        return outcome

    def close(self) -> None:
        for replica in self.replicas:
            if replica.server is not None and replica.server.process.poll() is None:
                replica.kill()
        self.receiver.close()
        self.registry.close()

    def _body(self, at: int) -> bytes:
        return json.dumps({"data": [[at % 97, 1.5, 2.5, -1.0]]}).encode()

    def _submit_before(self, count: int) -> None:
        for start in range(0, count, 100):
            batch = []
            for at in range(start, min(start + 100, count)):
                job_id = secrets.token_hex(16)
                self.bodies[job_id] = self._body(at)
                batch.append(
                    Submission(
                        id=job_id,
                        name="iris",
                        target="iris",
                        path="/models/iris/predict",
                        headers={"content-type": "application/json"},
                        body=self.bodies[job_id],
                        fingerprint=job_id,
                        priority=self._random.randrange(PRIORITIES),
                        webhook=self.receiver.url,
                    )
                )
            self.registry.jobs.add(batch, most_waiting=100_000)

    def _submit_through_both(self, count: int) -> None:
        priorities = [self._random.randrange(PRIORITIES) for _ in range(count)]

        def submit(at: int) -> None:
            headers = {
                "content-type": "application/json",
                "idempotency-key": f"key-{at}",
                "x-lading-job-priority": str(priorities[at]),
                "x-lading-job-webhook": self.receiver.url,
            }

            def accepted() -> str | None:
                server = self.replicas[self._random.randrange(2)].server
                assert server is not None  # Both have been started; which may be another by now.
                try:
                    url = f"{server.url}/models/iris/jobs"
                    answer = client.post(url, content=self._body(at), headers=headers)
                except httpx.HTTPError:
                    return None  # It was killed; with its key, the same job is submitted again.
                return answer.json()["id"] if answer.status_code == 202 else None

            job_id = wait_until(accepted, START_S, f"job {at} is accepted")
            assert job_id is not None
            self.bodies[job_id] = self._body(at)

        with httpx.Client(timeout=30) as client, ThreadPoolExecutor(8) as pool:
            list(pool.map(submit, range(count)))

    def _kill_in_turn(self, every_s: float, times: int) -> None:
        for _ in range(times):
            for replica in self.replicas:
                # By what is done and not by time alone: a busy machine does less of it in a second.
                before = self._ended()
                wait_until(lambda before=before: self._ended() > before or self._have_all_ended(), START_S)
                time.sleep(self._random.uniform(0, every_s))
                replica.kill()
                replica.start()

    def _ended(self) -> int:
        return self._query("SELECT count(*) FROM jobs WHERE state IN ('done', 'failed')")[0][0]

    def _have_all_ended(self) -> bool:
        return not self._query("SELECT count(*) FROM jobs WHERE state IN ('waiting', 'running')")[0][0]

    def _progress(self) -> str:
        states = self._query("SELECT state, count(*) FROM jobs GROUP BY state")
        return f"{states}, {len(self.receiver.delivered)} webhooks"

    def _expected(self) -> dict[bytes, bytes]:
        server = self.replicas[0].server
        assert server is not None
        bodies = {self._body(at) for at in range(97)}
        with httpx.Client(base_url=server.url) as client:
            answers = {body: client.post("/models/iris/predict", content=body) for body in bodies}
        return {body: answer.content for body, answer in answers.items()}

    def _outcome(self, count: int, expected: dict[bytes, bytes], took_s: float) -> Outcome:
        rows = self._query(
            "SELECT id, state, rank, created_at, started_at, attempts, answer FROM jobs ORDER BY number"
        )
        written = Counter(job_id for job_id, _ in self._query("SELECT id, state FROM written"))
        delivered = self.receiver.delivered
        return Outcome(
            jobs=len(rows),
            states=Counter(row[1] for row in rows),
            written_more_than_once=sum(times > 1 for times in written.values()),
            never_written=sum(not written[row[0]] for row in rows),
            wrong_answers=sum(bytes(row[6] or b"") != expected[self.bodies[row[0]]] for row in rows),
            out_of_order=_out_of_order(rows),
            taken_again=sum(row[5] > 1 for row in rows),
            kills=tuple(replica.kills for replica in self.replicas),
            seconds=took_s,
            webhooks=sum(delivered.values()),
            webhooks_missing=count - len(delivered),
            webhooks_twice=sum(times > 1 for times in delivered.values()),
            webhooks_refused=sum(self.receiver.refused.values()),
            wrong_signatures=len(self.receiver.wrong),
        )

    def _audit(self) -> None:
        if not self.url.startswith("postgresql"):
            with contextlib.closing(sqlite3.connect(Path(self.url) / "catalog.db")) as database:
                for statement in _AUDIT_SQLITE:
                    database.execute(statement)
            return
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as session:
            for statement in _AUDIT_POSTGRES:
                session.execute(statement)

    def _query(self, statement: str) -> list[tuple[Any, ...]]:
        if not self.url.startswith("postgresql"):
            with contextlib.closing(sqlite3.connect(Path(self.url) / "catalog.db", timeout=60)) as database:
                return database.execute(statement).fetchall()
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as session:
            return session.execute(statement).fetchall()


OVERLAP_S = 0.25
"""By so much two claims that are made at the same moment may be dated the other way round."""


def _out_of_order(rows: list[tuple[Any, ...]]) -> int:
    """Count the jobs that began although one of a greater priority had been waiting.

    Of those that were taken once: what was begun by a server that was killed began when that cannot be seen.
    """
    once = np.array([(row[2], row[3], row[4]) for row in rows if row[5] == 1])
    wrong = 0
    for rank, created_at, started_at in once:
        above = once[once[:, 0] < rank]
        waited = (above[:, 1] < started_at - OVERLAP_S) & (above[:, 2] > started_at + OVERLAP_S)
        wrong += bool(waited.any() and created_at)
    return wrong


@contextlib.contextmanager
def fleet(registry_url: str, folder: Path) -> Iterator[Fleet]:
    """Yield a fleet over the registry at `registry_url`; its servers are ended with the block."""
    made = Fleet(registry_url, folder)
    try:
        yield made
    finally:
        made.close()
