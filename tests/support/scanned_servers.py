"""Servers as they state what they run, and the day on which the feeds of tests are fresh."""

from __future__ import annotations

from lading.replica import Replica, ReplicaModel

PACKAGES = {"jinja2": "2.10", "numpy": "2.0.0"}


class Clock:
    """A clock of the day on which the feeds of these tests are fresh."""

    def __init__(self):
        self.now = 1796126400.0  # 2026-12-01T12:00:00Z

    def __call__(self):
        return self.now


def replica(name="web-1", *models, packages=PACKAGES, **more):
    fields = {"python": "3.11.7", "os": "debian 12", "lading": "0.1.0", "software": "lading 0.1.0"}
    return Replica(id=name, packages=packages, models=models, **fields, **more)


def iris(version=1, **more):
    return ReplicaModel(name="iris", version=version, digest=f"sha256:{version:064}", state="ready", **more)
