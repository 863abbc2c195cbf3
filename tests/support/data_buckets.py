"""A prefix of a bucket with files of rows and outputs of batch runs, as tests look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class DataBucket:
    """Puts and reads objects with a client of the tests' own, past every fault."""

    def __init__(self, url: str, client: Any) -> None:
        self.url = url
        self.client = client
        self.name, _, self._prefix = url.removeprefix("s3://").partition("/")

    def put(self, name: str, content: Path | bytes) -> str:
        """Write an object and return its URL."""
        data = content.read_bytes() if isinstance(content, Path) else content
        self.client.put_object(Bucket=self.name, Key=f"{self._prefix}/{name}", Body=data)
        return f"{self.url}/{name}"

    def names(self, below: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=f"{self._prefix}/{below}"
        )
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return [key.removeprefix(f"{self._prefix}/") for key in keys]

    def read(self, name: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=f"{self._prefix}/{name}")["Body"].read()

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"{self._prefix}/{name}")

    def records(self, below: str) -> int:
        """Return how many parts of the run below a prefix are done."""
        return len(self.names(f"{below}/.lading/done/"))

    def output(self, below: str) -> dict[str, bytes]:
        """Return what a run has published below a prefix."""
        names = [name for name in self.names(f"{below}/") if "/.lading/" not in name]
        return {name.removeprefix(f"{below}/"): self.read(name) for name in names}
