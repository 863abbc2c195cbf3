"""Hostile jobs: bodies, webhooks to where only the server may go, ids, headers. Each refusal is one sentence.

A webhook that is refused where it is submitted is never stored; one whose host is a name is refused where the
connection would be made.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from lading.bundle import Bundle
from support.hosted_app import served_from
from support.hosted_jobs import HostedJobs, hosted_jobs
from support.waiting import wait_until

PATH = "/models/iris/jobs"
BODY = {"data": [[1.0, 2.0, 3.0, 4.0]]}
JSON = {"content-type": "application/json"}
MOST_BYTES = 300_000


@pytest.fixture(scope="module")
def iris(pristine):
    return served_from(Bundle.open(pristine))


@pytest.fixture(scope="module")
def secret(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("secret") / "secret"
    file.write_text(f"whsec_{base64.b64encode(bytes(32)).decode()}")
    return str(file)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, iris, secret):
    folder = tmp_path_factory.mktemp("registry")
    options: dict[str, Any] = {"job_webhook_secret_file": secret, "max_job_bytes": MOST_BYTES}
    with hosted_jobs(folder, iris, **options) as jobs:
        yield jobs


class Recorded:
    """What a server on 127.0.0.1 was asked, and how it answers."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        self.status, self.location, self.body = 204, "", b""
        self.url = ""


@contextmanager
def recording() -> Iterator[Recorded]:
    recorded = Recorded()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            recorded.requests.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(recorded.status)
            if recorded.location:
                self.send_header("location", recorded.location)
            self.send_header("content-length", str(len(recorded.body)))
            self.end_headers()
            self.wfile.write(recorded.body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorded.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield recorded
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def expect_refusal(answer: httpx.Response, status: int, words: str) -> None:
    """Check that an answer is one short sentence, which says `words`."""
    assert answer.status_code == status, answer.text
    sentence = answer.json()["error"]
    assert words in sentence
    assert "\n" not in sentence
    assert "Traceback" not in answer.text
    assert len(answer.text) < 1000


def stored(jobs: HostedJobs) -> int:
    return len(jobs.get(f"{PATH}?limit=1000").json()["jobs"])


def expect_none_stored(jobs: HostedJobs, status: int, words: str, **options: Any) -> None:
    before = stored(jobs)
    expect_refusal(jobs.post(PATH, **options), status, words)
    assert stored(jobs) == before


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b" " * (MOST_BYTES + 1), 413, "expected at most 300000 bytes, found 300001"),
        (b"[" * 100_000, 400, "expected `object`, got `array`"),
        (b'{"data":' + b"[" * 100_000, 400, "maximum recursion depth"),
        (b'{"data": [[1e999, 1, 1, 1]]}', 400, "number out of range - at `$.data[0][0]`"),
        (b'{"data": [[' + b"9" * 5000 + b", 1, 1, 1]]}", 400, "out of range"),
        (json.dumps(BODY | dict.fromkeys(map(str, range(9999)), 0)).encode(), 400, "unknown field"),
        (b'{"data": [[1, 2, 3, "\xff"]]}', 400, "body"),
    ],
)
def test_a_bomb_of_json_is_refused_before_it_is_stored(jobs, body, status, words):
    expect_none_stored(jobs, status, words, content=body, headers=JSON)


def test_what_unpacks_to_gigabytes_is_refused_or_fails_alone(jobs):
    packed = gzip.compress(b" " * 60_000_000)
    headers = {**JSON, "content-encoding": "gzip"}
    expect_none_stored(jobs, 413, "after unpacking", content=packed, headers=headers)
    # Here the body is kept as it came, and unpacked where it runs.
    answer = jobs.post("/models/iris/predict", content=packed, headers={**headers, "prefer": "respond-async"})
    job = jobs.ended(answer.headers["location"])
    assert (job["state"], job["status"]) == ("failed", 413)
    assert "after unpacking" in job["reason"]
    assert jobs.ended(jobs.post(PATH, BODY).headers["location"])["state"] == "done"


@pytest.mark.slow
def test_a_large_bomb_of_json_fails_where_it_is_read_and_the_next_job_is_answered(jobs):
    answer = jobs.post(PATH, content=b'{"data":' + b"[" * 290_000, headers=JSON)
    job = jobs.ended(answer.headers["location"])
    assert (job["state"], job["status"]) == ("failed", 400)
    assert jobs.ended(jobs.post(PATH, BODY).headers["location"])["state"] == "done"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("idempotency-key", "a" * 100_000, "expected at most 255 printable characters, found 100000"),
        ("idempotency-key", "a\r\nset-cookie: b", "printable characters"),
        ("x-lading-job-priority", "9" * 100_000, "expected a whole number from -1000 to 1000"),
        ("x-lading-job-priority", "1001", "expected a whole number from -1000 to 1000"),
        ("x-lading-job-priority", "-999999999", "expected a whole number from -1000 to 1000"),
        ("x-lading-job-priority", "1e3", "expected a whole number from -1000 to 1000"),
        ("x-lading-job-priority", "NaN", "expected a whole number from -1000 to 1000"),
    ],
)
def test_a_header_out_of_range_is_refused(jobs, name, value, words):
    expect_none_stored(jobs, 400, words, json=BODY, headers={name: value})


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data/iam",
        "https://[fd00:ec2::254]/latest/meta-data",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[fe80::1%25lo]/",
        "https://0.0.0.0/",
        "https://100.100.100.200/",
        "https://10.0.0.1.:443/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://169.254.169.254./",
        "https://ann:secret@example.com/",
        "https://example.com@169.254.169.254/",
        "https://example.com#@127.0.0.1/",
        "https://example.com/\r\nx-injected: 1",
        "https://example.com/\tx",
        "https://exämple.com/",
        "//example.com/",
        "https://",
        "x" * 60_000,
    ],
)
def test_a_webhook_to_where_only_the_server_may_go_is_refused(jobs, url):
    headers = {"x-lading-job-webhook": url.encode()}
    expect_none_stored(jobs, 400, "`x-lading-job-webhook`: expected", json=BODY, headers=headers)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com.evil.example/",
        "https://evilhooks.example.com/",
        "https://hooks.example.com./",
        "https://hooks.example.com\\@127.0.0.1/",
        "http://127.0.0.1/",
    ],
)
def test_with_a_list_a_host_that_only_looks_like_one_of_it_is_refused(tmp_path, iris, secret, url):
    named = {"job_webhook_secret_file": secret, "job_webhook_hosts": "hooks.example.com"}
    with hosted_jobs(tmp_path / "r", iris, runs=False, **named) as jobs:
        headers = {"x-lading-job-webhook": url}
        expect_none_stored(jobs, 400, "`x-lading-job-webhook`: expected", json=BODY, headers=headers)


def hook_of(jobs: HostedJobs, location: str, words: str) -> dict[str, Any]:
    """Wait until the last attempt of a job's webhook has come to `words`."""

    def attempted() -> dict[str, Any] | None:
        hook = jobs.get(location).json()["webhook"]
        return hook if words in hook["last"] else None

    return wait_until(attempted, what=lambda: jobs.get(location).text)


@pytest.mark.slow
def test_a_name_that_resolves_to_this_machine_is_not_connected_to(jobs):
    with recording() as canary:
        url = canary.url.replace("http://127.0.0.1", "https://localhost")
        location = jobs.post(PATH, BODY, headers={"x-lading-job-webhook": url}).headers["location"]
        hook = hook_of(jobs, location, "which is not allowed")
        assert hook["state"] == "due"
    assert canary.requests == []


@pytest.mark.slow
def test_a_redirect_leads_nowhere_and_an_answer_without_end_is_not_read(tmp_path, iris, secret):
    allowed = {"job_webhook_secret_file": secret, "job_webhook_hosts": "127.0.0.1"}
    with (
        recording() as canary,
        recording() as receiver,
        hosted_jobs(tmp_path / "r", iris, **allowed) as jobs,
    ):
        receiver.status, receiver.location = 307, canary.url
        headers = {"x-lading-job-webhook": receiver.url}
        location = jobs.post(PATH, BODY, headers=headers).headers["location"]
        assert hook_of(jobs, location, "status 307")["state"] == "due"
        receiver.status, receiver.location, receiver.body = 200, "", b"x" * 1_000_000
        location = jobs.post(PATH, BODY, headers=headers).headers["location"]
        assert hook_of(jobs, location, "more than 64 KiB")["state"] == "due"
    assert canary.requests == []


@pytest.mark.slow
def test_a_caller_sets_no_header_of_a_webhook(tmp_path, iris, secret):
    allowed = {"job_webhook_secret_file": secret, "job_webhook_hosts": "127.0.0.1"}
    with recording() as receiver, hosted_jobs(tmp_path / "r", iris, **allowed) as jobs:
        evil = {
            "x-lading-job-webhook": receiver.url,
            "x-request-id": "evil",
            "webhook-id": "evil",
            "webhook-signature": "v1,evil",
            "authorization": "Bearer evil",
            "cookie": "a=evil",
            "traceparent": "evil",
            "user-agent": "evil",
        }
        location = jobs.post(PATH, BODY, headers=evil).headers["location"]
        assert hook_of(jobs, location, "status 204")["state"] == "delivered"
    (sent,) = receiver.requests
    ours = {"webhook-id", "webhook-timestamp", "webhook-signature", "user-agent"}
    transport = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length"}
    assert sent.keys() == ours | transport
    assert "evil" not in str(sent)


@pytest.mark.parametrize(
    "job_id",
    [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%00",
        "%0d%0aset-cookie:%20a=b",
        "'%20OR%20'1'='1",
        "%25",
        "_",
        "*",
        "%ff",
        "1",
        "a" * 60_000,
    ],
)
def test_an_id_with_tricks_is_that_of_no_job(jobs, job_id):
    jobs.ended(jobs.post(PATH, BODY).headers["location"])
    for answer in (
        jobs.get(f"/jobs/{job_id}"),
        jobs.get(f"/jobs/{job_id}/result"),
        jobs.delete(f"/jobs/{job_id}"),
    ):
        expect_refusal(answer, 404, "expected")
        assert "set-cookie" not in answer.headers


def test_the_result_of_another_caller_is_only_for_those_who_know_its_whole_id(jobs):
    location = jobs.post(PATH, BODY, headers={"idempotency-key": "of-ann"}).headers["location"]
    job_id = jobs.ended(location)["id"]
    number = jobs.service.registry.jobs.get(job_id).number
    for guess in (number, job_id[:-1], f"{job_id}0", f"{job_id}%20", f"%20{job_id}", f"{job_id[:-1]}_"):
        expect_refusal(jobs.get(f"/jobs/{guess}/result"), 404, "found none with this id")
    # Her key with another request shows nothing of hers, and stores nothing.
    other = {"json": {"data": [[0, 0, 0, 0]]}, "headers": {"idempotency-key": "of-ann"}}
    expect_none_stored(jobs, 422, "found another one", **other)
    assert len({jobs.post(PATH, BODY).headers["location"] for _ in range(20)}) == 20
