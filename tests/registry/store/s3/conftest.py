"""What the tests of the S3 store share; parts are small, so that blobs need not be large."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lading.registry.store.s3.parts
from lading.blobs.retry import Retry
from lading.registry.store.s3 import S3Store, s3_client
from support.s3_stores import PART_BYTES


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(lading.registry.store.s3.parts, "PART_BYTES", PART_BYTES)


@pytest.fixture
def open_store(s3_url) -> Iterator[Callable[..., S3Store]]:
    opened = []

    def opens(**options) -> S3Store:
        bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
        opened.append(S3Store(bucket, prefix, **{"retry": Retry(attempts=3, first_s=0.01), **options}))
        return opened[-1]

    yield opens
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store) -> S3Store:
    return open_store()


@pytest.fixture
def client(s3_url) -> Iterator[Any]:
    opened = s3_client(os.environ)
    yield opened
    opened.close()
