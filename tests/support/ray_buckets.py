"""A bucket that the machines of a Ray cluster reach, on a network where only they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from support import bridges
from support.bridges import Bridge
from support.ray_clusters import RayCluster, kill
from support.store_servers import AWS

_PORT = 9000
# The network is the cluster's own, so that the port is free there.
IN_BUCKETS = {**AWS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{_PORT}"}
"""What machines and commands of a cluster need in their environment."""

NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@contextmanager
def bridged(cluster: RayCluster, server: str) -> Iterator[Bridge]:
    """Bring an S3 server into the network of a cluster; the bridge's ``target`` may be another later."""
    bridge = Bridge(cluster.folder / "s3", server)
    inside = cluster.start(sys.executable, bridges.__file__, str(_PORT), str(bridge.path))
    try:
        assert inside.stdout is not None
        assert inside.stdout.readline() == "up\n"
        yield bridge
    finally:
        kill(inside)
        bridge.close()
