"""For every test: no fixed port of gRPC, as servers run side by side, and no clock on generated examples."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from support.browsing import chromium_address, people  # noqa: F401 - fixtures
from support.containers import container_storage, podman, runtime  # noqa: F401 - fixtures
from support.image_environment import iris, registries  # noqa: F401 - fixtures
from support.postgres import postgres  # noqa: F401 - a fixture
from support.store_servers import oci_server, oci_url, s3_buckets, s3_server, s3_url  # noqa: F401 - fixtures

os.environ.setdefault("LADING_GRPC_PORT", "0")

# A busy machine takes longer than Hypothesis' 200 ms for one example, which says nothing about the code.
# Elsewhere chance finds what is new; CI tries the same examples each time, so that only a change fails it.
settings.register_profile("lading", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lading")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let workers begin with the slow tests, stories first: one at the end would keep the others waiting."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_lateness)


def _lateness(item: pytest.Item) -> tuple[bool, bool]:
    return "journeys" not in item.path.parts, item.get_closest_marker("slow") is None


@pytest.fixture(autouse=True)
def log_left_as_found() -> Iterator[None]:
    """Take back where a server or command of this test logs to: the stream is closed, threads may go on."""
    logs = [logging.getLogger(name) for name in ("lading", "uvicorn.error")]
    states = [(log.handlers[:], log.level, log.propagate) for log in logs]
    yield
    for log, (handlers, level, propagate) in zip(logs, states, strict=True):
        log.handlers[:], log.propagate = handlers, propagate
        log.setLevel(level)


LONGEST_ID = 200


def pytest_make_parametrize_id(val: object) -> str | None:
    """Shorten the names of tests that have a whole body: the name is in the environment of each process.

    Linux gives no variable more than 128 kB, so no process could be started in such a test.
    """
    if isinstance(val, str | bytes) and len(val) > LONGEST_ID:
        return f"{ascii(val[:40])[:60]} and so on, {len(val)} in all"
    return None
