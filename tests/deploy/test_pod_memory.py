"""The memory that a manifest asks for is enough: in a real cgroup of that size, nothing is killed."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from lading.bundle import Bundle
from lading.deploy import workload
from lading.deploy.kubernetes import manifests
from lading.verify import verify
from support.bundles import linear_bundle
from support.cgroups import MemoryGroup, memory_group, why_no_groups
from support.grpc_client import ask
from support.large_models import feed_forward
from support.open_inference import LENGTH
from support.server_process import ServerProcess, serving
from support.workloads import server_of, version, work

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_no_groups()), reason=why_no_groups())]

AT_ONCE = 6
MANY = 40
UNLIMITED = (("grpc.max_receive_message_length", -1),)
# What concerns addresses and folders of a pod alone.
_NOT_HERE = {"LADING_HOST", "LADING_PORT", "LADING_GRPC_PORT", "LADING_DRAIN_DELAY_S", "LADING_CACHE", "HOME"}


@dataclass(frozen=True)
class Pod:
    """A server of a bundle with the memory and the settings of its manifest."""

    bundle: Bundle
    environ: dict[str, str]
    group: MemoryGroup
    server: ServerProcess

    @property
    def max_body_bytes(self) -> int:
        return int(self.environ["LADING_MAX_BODY_BYTES"])

    def answers(self, *posts: tuple[str, bytes, dict[str, str]]) -> list[int]:
        """Send each request `AT_ONCE` times at the same time; return the distinct statuses of all."""
        return sorted(self.statuses(*posts, at_once=AT_ONCE, each=AT_ONCE, retries=True))

    def statuses(
        self, *posts: tuple[str, bytes, dict[str, str]], at_once: int, each: int, retries: bool = False
    ) -> set[int]:
        """Send each request `each` times, `at_once` at the same time; return the distinct statuses.

        With `retries` those are sent again that the server had no room for.
        """

        def post(number: int) -> int:
            path, body, headers = posts[number % len(posts)]
            assert len(body) <= self.max_body_bytes
            url = f"{self.server.url}{path}"
            while True:
                status = httpx.post(url, content=body, headers=headers, timeout=240).status_code
                if status != 503 or not retries:
                    return status

        with ThreadPoolExecutor(at_once) as threads:
            return set(threads.map(post, range(each * len(posts))))


def container_of(bundle: Bundle) -> Any:
    """Return the container that `lading deploy kubernetes` writes for a bundle after `lading verify`."""
    plan = workload(version(name=bundle.manifest.name), work().options, [verify(bundle, threads=1)])
    return server_of(manifests(plan))


@contextlib.contextmanager
def running(bundle: Bundle) -> Iterator[Pod]:
    """Verify a bundle and serve it, each in a cgroup of the memory that its manifest asks for."""
    container = container_of(bundle)
    memory = container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]["memory"] == memory
    environ = {entry["name"]: entry["value"] for entry in container["env"] if entry["name"] not in _NOT_HERE}
    with memory_group(int(memory.removesuffix("Mi")) * 2**20) as group:
        verify_here = group.command(sys.executable, "-m", "lading", "verify", str(bundle.path))
        verified = subprocess.run(verify_here, capture_output=True, text=True, check=False)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        with serving(bundle.path, flags=("--grpc-port", "0"), environ=environ, group=group) as server:
            yield Pod(bundle, environ, group, server)
        assert group.oom_kills == 0


@pytest.fixture(scope="module")
def iris_pod(tmp_path_factory) -> Iterator[Pod]:
    with running(linear_bundle(tmp_path_factory.mktemp("pod") / "iris")) as pod:
        yield pod


def filled(most: int, head: bytes, row: bytes, tail: bytes) -> bytes:
    """Return a body of nearly `most` bytes: as many rows as fit, with commas between them."""
    count = (most - len(head) - len(tail)) // (len(row) + 1)
    return head + b",".join([row] * count) + tail


def raw(name: str, array: np.ndarray[Any, Any], datatype: str) -> tuple[bytes, dict[str, str]]:
    fields = {"parameters": {"binary_data_size": array.nbytes}, "datatype": datatype}
    head = json.dumps({"inputs": [{"name": name, "shape": list(array.shape), **fields}]}).encode()
    return head + array.tobytes(), {LENGTH: str(len(head))}


def test_the_largest_requests_in_every_form_kill_nothing(iris_pod):
    most = iris_pod.max_body_bytes
    rows = np.ones(((most - 1000) // 16, 4), np.float32)
    body, headers = raw("X", rows, "FP32")
    file = io.BytesIO()
    np.save(file, rows)
    csv = b"1.5,2.5,3.5,4.5\n" * (most // 16)
    record = b'{"sepal_length":1,"sepal_width":2,"petal_length":3,"petal_width":4}'
    assert iris_pod.answers(
        ("/v2/models/iris/infer", body, headers),
        ("/predict", filled(most, b'{"data":[', b"[1.5,2.5,3.5,4.5]", b"]}"), {}),
        ("/predict", filled(most, b'{"data":[', record, b"]}"), {}),
        ("/v1/models/iris:predict", filled(most, b'{"instances":[', b"[1.5,2.5,3.5,4.5]", b"]}"), {}),
        ("/invocations", file.getvalue(), {"content-type": "application/x-npy"}),
    ) == [200]
    # Python's csv module takes a second for 4 MiB.
    assert httpx.post(
        f"{iris_pod.server.url}/invocations", content=csv, headers={"content-type": "text/csv"}, timeout=60
    ).is_success
    assert iris_pod.group.oom_kills == 0


def ask_until_there_is_room(channel: grpc.Channel, fields: dict[str, Any]) -> Any:
    """Send a call again while the server has no memory for it, as it asks clients to."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return ask(channel, "ModelInfer", timeout=60, **fields)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_the_largest_grpc_messages_kill_nothing(iris_pod):
    rows = np.ones(((iris_pod.max_body_bytes - 1000) // 16, 4), np.float32)
    tensor = {"name": "X", "datatype": "FP32", "shape": rows.shape}
    fields = {"model_name": "iris", "inputs": [tensor], "raw_input_contents": [rows.tobytes()]}
    options = (("grpc.max_receive_message_length", -1),)
    with grpc.insecure_channel(iris_pod.server.grpc_target(), options) as channel:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            calls = list(threads.map(lambda _: ask_until_there_is_room(channel, fields), range(AT_ONCE)))
        assert [len(answer.raw_output_contents) for answer, _ in calls] == [2] * AT_ONCE


def test_many_clients_with_the_largest_bodies_of_every_form_at_once_kill_nothing(iris_pod):
    most = iris_pod.max_body_bytes
    rows = np.ones(((most - 1000) // 16, 4), np.float32)
    body, headers = raw("X", rows, "FP32")
    lists, text = filled(most, b'{"data":[', b"[1.5,2.5,3.5,4.5]", b"]}"), {"content-type": "text/csv"}
    posts = [
        ("/v2/models/iris/infer", body, headers),
        ("/predict", lists, {}),
        ("/predict", filled(most, b'{"data":[', b"[]", b"]}"), {}),
        ("/predict", filled(most, b'{"data":[', b"{}", b"]}"), {}),
        ("/predict", gzip.compress(lists), {"content-encoding": "gzip"}),
        ("/v2/models/iris/infer", gzip.compress(bytes(most), 1), {"content-encoding": "gzip"}),
        ("/invocations", b"1.5,2.5,3.5,4.5\n" * (most // 16), text),
        ("/invocations", b"1,2,3,4\n" * (most // 8), text),
        ("/invocations", b'{"x":1}\n' * (most // 8), {"content-type": "application/jsonlines"}),
    ]
    ended = threading.Event()

    def ask_health() -> set[int]:
        statuses = set()
        with httpx.Client(base_url=iris_pod.server.url, timeout=60) as client:
            while not ended.wait(0.05):
                statuses.add(client.get("/health").status_code)
                statuses.add(client.post("/predict", json={"data": [[1, 2, 3, 4]]}).status_code)
        return statuses

    tensor = {"name": "X", "datatype": "FP32", "shape": rows.shape}
    fields = {"model_name": "iris", "inputs": [tensor], "raw_input_contents": [rows.tobytes()]}

    def ask_grpc(_number: int) -> str:
        with grpc.insecure_channel(iris_pod.server.grpc_target(), UNLIMITED) as channel:
            try:
                ask(channel, "ModelInfer", timeout=60, **fields)
            except grpc.RpcError as error:
                return error.code().name
        return "OK"

    with ThreadPoolExecutor(MANY + 17) as threads:
        health, calls = threads.submit(ask_health), [threads.submit(ask_grpc, 0) for _ in range(16)]
        statuses = iris_pod.statuses(*posts, at_once=MANY, each=8)
        codes = {call.result() for call in calls}
        ended.set()
        assert health.result() == {200}
    assert iris_pod.group.oom_kills == 0
    assert statuses <= {200, 400, 413, 429, 503, 504}
    assert 200 in statuses
    assert codes <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}


def test_many_rows_and_one_very_long_row_kill_nothing(tmp_path):
    many, of_many = raw("ids", np.ones((16, 256), np.int64), "INT64")
    # 12 KB a token: 1.5 GB in one run, which is more than the pod has.
    long, of_long = raw("ids", np.ones((1, 128 * 1024), np.int64), "INT64")
    with running(feed_forward(tmp_path / "model")) as pod:
        infer = f"/v2/models/{pod.bundle.manifest.name}/infer"
        assert pod.answers((infer, many, of_many)) == [200]
        assert pod.answers((infer, long, of_long)) == [413]
        assert pod.answers(("/predict", json.dumps({"data": [[1, 2, 3]]}).encode(), {})) == [200]
        assert pod.group.oom_kills == 0
