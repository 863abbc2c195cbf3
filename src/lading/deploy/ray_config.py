"""The config of a Ray Serve application whose replicas are servers, as `serve deploy` reads it.

Pure: imports no Ray, and asks no cluster.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lading.deploy.yamltext import Noted
from lading.errors import InvalidSetting

Fronts = Literal["EveryNode", "HeadOnly"]

DEPLOYMENT = "lading"
IMPORT_PATH = "lading.deploy.ray_serve:app"
DRAIN_S = 30.0
SHUTDOWN_S = 40.0
"""Serve waits so long for a replica to drain; more than `DRAIN_S`, in which its server does."""
RETRY_ON = ("conn-failure", "empty-response", "junk-response", "503")
FRONT_OPTIONS = (
    "option http-buffer-request",
    "option srvtcpka",
    "srvtcpka-idle 5s",
    "srvtcpka-intvl 5s",
    "srvtcpka-cnt 3",
)
NODE_ENVIRONMENT = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # HAProxy asks again only what it has as a whole, and by itself it passes the head on before the body has
    # come: clients that send them apart would get errors. Ray has no variable for more options of HAProxy,
    # and writes this one into its `defaults` as it is, where further lines may follow.
    "RAY_SERVE_HAPROXY_RETRY_ON": "\n    ".join([" ".join(RETRY_ON), *FRONT_OPTIONS]),
    "RAY_SERVE_HAPROXY_RETRIES": "10",
    # Requests up to this size, and 1 kB less, can be asked again.
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "262144",
    # A replica only passes requests on: a second loop in a thread of its own would cost time for nothing.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
"""What `ray start` has to run with on every node, for a front that asks another replica if one has ended."""


@dataclass(frozen=True, kw_only=True)
class Replica:
    """What each replica serves, below `route`: `refs`, or the registry's releases. `cpus` are its threads."""

    refs: tuple[str, ...] = ()
    registry: str = ""
    cpus: int = 1
    allow: str = "none"
    route: str = "/"

    def __post_init__(self) -> None:
        if not self.route.startswith("/") or (self.route.endswith("/") and self.route != "/"):
            raise InvalidSetting("route", expected="`/` or a path such as `/iris`", found=f"`{self.route}`")

    def options(self) -> list[str]:
        """Return the options of its ``lading serve``."""
        registry = ["--registry", self.registry] if self.registry else []
        root = ["--root-path", self.route] if self.route != "/" else []
        return ["--threads", str(self.cpus), "--allow", self.allow, *registry, *root]


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """What a person chooses; raises `InvalidSetting`.

    Replicas are added while each has more than ``in_flight`` requests, and removed once they have had fewer
    for ``remove_after_s``. ``host`` and ``port`` are those of Serve's HTTP front, of which each node with a
    replica has one, or only the head.
    """

    name: str = DEPLOYMENT
    min_replicas: int = 1
    max_replicas: int = 4
    in_flight: float = 4.0
    host: str = "127.0.0.1"
    port: int = 8000
    fronts: Fronts = "EveryNode"
    remove_after_s: float = 120.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            chosen = f"{self.min_replicas} to {self.max_replicas}"
            raise InvalidSetting("replicas", expected="at least 1, and at most no less", found=chosen)


def config(replica: Replica, options: RayOptions) -> dict[str, Any]:
    """Return the Serve config, with comments."""
    return {
        "proxy_location": Noted(options.fronts, "EveryNode: a client may ask any node that has a replica."),
        "http_options": {
            "host": Noted(options.host, "Of this machine alone; 0.0.0.0 for all of its addresses."),
            "port": options.port,
        },
        "applications": [
            {
                "name": options.name,
                "route_prefix": replica.route,
                "import_path": IMPORT_PATH,
                "args": {**asdict(replica), "refs": list(replica.refs)},
                "deployments": [deployment(replica, options)],
            }
        ],
    }


def deployment(replica: Replica, options: RayOptions) -> dict[str, Any]:
    """Return the options of the one deployment."""
    return {
        "name": DEPLOYMENT,
        "max_ongoing_requests": Noted(
            max(100, int(25 * options.in_flight)),
            "The server queues by itself, and refuses what is too much.",
        ),
        "autoscaling_config": {
            "min_replicas": options.min_replicas,
            "max_replicas": options.max_replicas,
            "target_ongoing_requests": Noted(options.in_flight, "Per replica; more of them add replicas."),
            # Serve's own 30 s suit models that take minutes to load.
            "upscale_delay_s": 5.0,
            "downscale_delay_s": Noted(options.remove_after_s, "A short lull takes no replica away."),
        },
        "ray_actor_options": {
            "num_cpus": Noted(replica.cpus, "As many threads has the model."),
        },
        # A server that computes for long answers its health all the same, but a busy node may be slow.
        "health_check_period_s": 5.0,
        "health_check_timeout_s": 15.0,
        "graceful_shutdown_timeout_s": Noted(
            SHUTDOWN_S, "For the requests in flight of one that is removed."
        ),
    }
